"""The model registry: MLflow's store of runs and models, written as a projection of the history."""
