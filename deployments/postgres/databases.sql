-- Run once, when the volume is new: the tools' own databases beside ours.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE optuna;
