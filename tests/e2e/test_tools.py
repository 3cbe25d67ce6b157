"""The tools that people know, pointed at our state by `hedonic env`: each sees what a run made."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench import BIN, ONE_CPU, Bench, another_caller, run
from tests.ports import free_port
from tests.waiting import wait_for_server

pytestmark = pytest.mark.slow

DATASET = "small_county"


@contextmanager
def running(command: list[str], environment: Mapping[str, str], folder: Path, url: str) -> Iterator[None]:
    """Keep a server running for as long as it is needed; it is ready when ``url`` answers."""
    log = folder / f"{command[0]}.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            env=dict(environment),
            cwd=folder,
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 120
            while not answers(url):
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            yield
        finally:
            server.terminate()
            server.wait(120)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def call(url: str, content: dict[str, Any] | None = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, dict[str, Any], str]]:
    """A run that reports to a Prefect server started by hand."""
    bench = Bench(tmp_path_factory.mktemp("watched") / "a town", free_port())
    api = bench.environment["PREFECT_API_URL"]
    with running(["prefect", "server", "start"], bench.environment, bench.settings.root, f"{api}/health"):
        yield bench, bench.hedonic_run(), api
        bench.down()


def test_the_run_its_tasks_and_artifacts_are_in_the_server(watched: Any) -> None:
    _, result, api = watched
    assert result["outcome"] == "promoted"
    (flow_run,) = call(f"{api}/flow_runs/filter", {})
    assert flow_run["state_type"] == "COMPLETED"
    assert flow_run["name"].startswith(f"{DATASET}: by hand")
    expected = {"ingest", "validate", "tune", "train", "evaluate", "decide", "roll-out", "verify"}

    def tasks() -> set[str]:  # they reach the server a moment after the run
        return {task["name"].rsplit("-", 1)[0] for task in call(f"{api}/task_runs/filter", {})}

    wait_for_server(lambda: tasks() >= expected, "all of its tasks are in the server")
    keys = {artifact["key"] for artifact in call(f"{api}/artifacts/filter", {})}
    told = ("validation", "leaderboard", "evaluation", "verdict", "release")
    assert {f"{what}-small-county" for what in told} <= keys
    logs = call(f"{api}/logs/filter", {"limit": 200})
    assert any("trial 1 of 3" in line["message"] for line in logs)


def test_every_deployment_is_deployed_and_one_runs_by_prefects_own_command(watched: Any) -> None:
    bench, _, api = watched
    root, environment = bench.settings.root, bench.environment
    run(["prefect", "work-pool", "create", "hedonic", "--type", "process"], environment, root)
    run(["prefect", "--no-prompt", "deploy", "--all"], {**environment, "PWD": str(root)}, root)
    deployed = [
        one
        for one in call(f"{api}/deployments/filter", {})
        if not one["entrypoint"].startswith("flows/watch")
    ]
    typed = {
        d["name"]: d["parameter_openapi_schema"]["properties"]
        for d in deployed
        if d["entrypoint"].endswith((":train", ":score"))
    }
    assert {"king_county", "california", "score"} <= typed.keys()
    assert typed["king_county"]["trials"] == typed["california"]["trials"]
    assert typed["score"]["keep_refused"]["type"] == "boolean"
    parameters = ["-p", f"dataset={DATASET}", "-p", "reason=prefect"]
    run(["prefect", "deployment", "run", "train/king_county", *parameters], environment, root)
    worker = ["prefect", "worker", "start", "--pool", "hedonic", "--run-once"]
    run(worker, environment, root)
    named = {"flow_runs": {"name": {"like_": f"{DATASET}: prefect"}}}
    deadline = time.monotonic() + 60
    while True:
        found = call(f"{api}/flow_runs/filter", named)
        if found and found[0]["state_type"] not in ("PENDING", "RUNNING", "SCHEDULED"):
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert found[0]["state_type"] == "COMPLETED"


def test_mlflow_ui_shows_the_experiment_and_the_champion(watched: Any) -> None:
    bench, result, _ = watched
    url = f"http://127.0.0.1:{bench.settings.ports.mlflow}"
    with running(["mlflow", "ui"], bench.environment, bench.settings.root, f"{url}/health"):
        name = f"hedonic-{DATASET}"
        found = call(f"{url}/api/2.0/mlflow/registered-models/alias?name={name}&alias=champion")
        tags = {tag["key"]: tag["value"] for tag in found["model_version"]["tags"]}
        assert result["release"] in tags.values()
        shown = call(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}")
        assert shown["experiment"]["lifecycle_stage"] == "active"


def test_optuna_dashboard_shows_the_study(watched: Any) -> None:
    bench, _, _ = watched
    port = bench.settings.ports.optuna
    url = f"http://127.0.0.1:{port}"
    command = ["optuna-dashboard", bench.environment["HEDONIC_STUDIES"], "--port", str(port)]
    with running(command, bench.environment, bench.settings.root, f"{url}/api/studies"):
        (study,) = call(f"{url}/api/studies")["study_summaries"]
        assert study["study_name"].startswith(f"{DATASET}-20")


def test_bentoml_lists_the_bento_that_is_served(watched: Any) -> None:
    bench, result, _ = watched
    listed = json.loads(run(["bentoml", "list", "-o", "json"], bench.environment, bench.settings.root))
    assert [bento["tag"] for bento in listed] == [result["bento"]]
    info = call(f"{result['endpoint']}/model/info")
    assert info["model"]["release"] == result["release"]
    assert info["bento"] == result["bento"]
    assert info["record"]["mlflow_run_id"]


def test_hedonics_own_commands_tell_the_same(watched: Any) -> None:
    bench, result, _ = watched
    root = bench.settings.root
    status = json.loads(run(["hedonic", "status", "--json"], bench.environment, root).splitlines()[-1])
    assert status[DATASET]["release"] == result["release"]
    answer = json.loads(
        run(["hedonic", "predict", DATASET, "--json"], bench.environment, root).splitlines()[-1]
    )
    assert answer["predictions"] == result["prediction"]["predictions"]


@pytest.fixture(scope="module")
def elsewhere(
    watched: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str | None], list[str] | None]:
    """The same run in another directory and environment, and the connections that it opened.

    The port is in the contract, and so in the digest: the first endpoint makes way. The trace is of
    every process that the run starts; None where strace is not installed.
    """
    first, result, _ = watched
    first.down()
    folder = tmp_path_factory.mktemp("elsewhere")
    trace, strace = folder / "trace", shutil.which("strace")
    bench = Bench(folder / "town", int(result["endpoint"].rsplit(":", 1)[1]), changes=another_caller(folder))
    follow = ["-f", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", str(trace)]
    try:
        result = bench.hedonic_run(*([strace, *follow] if strace else []), *ONE_CPU, umask=0o077)
    finally:
        bench.down()
    return bench.digests(result), trace.read_text().splitlines() if strace else None


def test_another_directory_and_environment_give_the_same_model_release_and_bento(
    watched: Any, elsewhere: Any
) -> None:
    (bench, result, _), (second, _) = watched, elsewhere
    first = bench.digests(result)
    assert all(first.values())
    assert second == first


def test_a_run_opens_no_connection_beyond_loopback(elsewhere: Any) -> None:
    _, trace = elsewhere
    if trace is None:
        pytest.skip("strace is not installed: apt-get install -y strace")
    reached = [line for line in trace if "sa_family=AF_INET" in line]
    assert reached, "the trace saw no connection at all, not even to the endpoint"
    beyond = [line for line in reached if "127.0.0.1" not in line and '"::1"' not in line]
    assert beyond == []
