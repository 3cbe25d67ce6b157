"""A project folder with one small contract, and a process environment that is given back."""

from __future__ import annotations

import os

import pytest

from hedonic.cli.edge import run_command
from hedonic.cli.environment import prepare
from tests.ports import free_port as port_of_a_project

CONTRACT = """\
format_version: 1
name: toy
title: Toy
source: {uri: data/toy.csv}
target: {column: price, unit: USD}
columns:
  - {name: price, type: number, role: target, description: what it sold for}
  - {name: area, type: number, minimum: 1, description: living area, example: 120}
  - {name: rooms, type: integer, description: rooms, example: 3}
search:
  families: {median: {}, ridge: {}}
split: {method: random}
gate:
  limits: [{metric: log_rmse, maximum: 0.5}]
serve: {port: PORT}
"""


@pytest.fixture
def project(tmp_path, monkeypatch, free_port):
    saved = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("HEDONIC_", "PREFECT_", "MLFLOW_", "BENTOML_")):
            del os.environ[name]
    (tmp_path / "prefect.yaml").write_text("name: toy\n")
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "toy.yaml").write_text(CONTRACT.replace("PORT", str(free_port)))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def free_port():
    return port_of_a_project()


@pytest.fixture
def hedonic(project, capfd):
    """Run the command line as a process would; returns (exit code, standard output, standard error)."""

    def command(*arguments):
        code = run_command(arguments, lambda: prepare(os.environ))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command
