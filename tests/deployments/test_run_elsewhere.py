"""A run as in production: MLflow's own server keeps runs and files, Postgres studies, history and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from tests.ports import free_port
from tests.postgres import PASSWORD, Postgres
from tests.project import make_project

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
DATASET = "small_county"


def serve_mlflow(stack: ExitStack, folder: Path, database: str) -> str:
    """Return the address of a real MLflow server: runs in Postgres, files through the server."""
    port = free_port()
    log = stack.enter_context((folder / "mlflow.log").open("w"))
    server = subprocess.Popen(
        [
            str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", database, "--serve-artifacts",
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        cwd=folder, stdout=log, stderr=log,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes more, as in compose.yaml
        },
    )  # fmt: skip
    stack.callback(server.wait, 120)
    stack.callback(server.terminate)
    deadline = time.monotonic() + 180
    while not answers(f"http://127.0.0.1:{port}/health"):
        told = (folder / "mlflow.log").read_text()[-3000:]
        assert server.poll() is None, told
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    return f"http://127.0.0.1:{port}"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_a_run_leaves_everything_where_the_settings_say_and_nothing_in_files_of_its_own(
    tmp_path: Path, postgres: Postgres
) -> None:
    tracked, studied, ours = (postgres.new_database() for _ in range(3))
    settings: Settings = make_project(tmp_path / "town", port=free_port())
    with ExitStack() as stack:
        for url in (tracked, studied, ours):
            stack.callback(postgres.drop, url)
        mlflow = serve_mlflow(stack, tmp_path, sqlalchemy(tracked))
        stack.callback(stop_all, settings)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HEDONIC_", "PREFECT_", "MLFLOW_"))}
        environment = {
            **clean,
            "HEDONIC_PORTS__PREFECT": str(free_port()),
            "HEDONIC_SERVICES__MLFLOW": mlflow,
            "HEDONIC_STUDIES_URL": sqlalchemy(studied),
            "HEDONIC_HISTORY_URL": sqlalchemy(ours),
            "HEDONIC_PREDICTION_LOG_URL": ours,
            "HEDONIC_PREDICTION_LOG_MODE": "durable",
        }
        done = subprocess.run(
            [str(BIN / "hedonic"), "run", DATASET, "--json"],
            env=environment, cwd=settings.root, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["outcome"] == "promoted"
        assert PASSWORD not in done.stdout + done.stderr

        api = f"{mlflow}/api/2.0/mlflow"
        alias = asked(f"{api}/registered-models/alias?name=hedonic-{DATASET}&alias=champion")
        champion = alias["model_version"]
        assert result["release"] in {tag["value"] for tag in champion["tags"]}
        files = asked(f"{api}/artifacts/list?run_id={champion['run_id']}")
        assert files["root_uri"].startswith("mlflow-artifacts:")
        assert list((tmp_path / "artifacts").rglob("MLmodel")), "the model's files went through the server"
        with psycopg.connect(studied) as connection:
            (n_trials,) = connection.execute("SELECT count(*) FROM trials").fetchone() or (0,)
        assert n_trials >= 3
        with psycopg.connect(ours) as connection:
            kinds = [kind for (kind,) in connection.execute("SELECT kind FROM hedonic_history ORDER BY seq")]
        assert kinds == ["promoted"]
        for absent in ("mlflow/mlflow.db", "optuna/studies.journal", "history.db", "prediction_log.db"):
            assert not (settings.home / absent).exists(), absent
