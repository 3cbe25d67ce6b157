"""The image as its user runs it: hardened, on the port of whoever hosts it, killed, and without a network."""

from __future__ import annotations

import http.client
import json
import os
import subprocess

import psutil
import pytest

from hedonic.model.manifest import read_golden
from hedonic.serving.golden import differences, verify_served
from tests.containers.conftest import CANARY, TOKEN, Running, Start, Town, docker, ready
from tests.drills import DrillTable
from tests.tiny_release import ROW
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.slow]

ROWS = 5  # of one request: the tiny town's max_rows


@pytest.fixture(scope="module")
def running(town: Town, start: Start) -> Running:
    """Amazon's way: `docker run IMAGE serve`, on 8080, with a token."""
    return start(town.image.name, "serve", HEDONIC_API_TOKEN=f"{TOKEN},{CANARY}")


def process(running: Running) -> psutil.Process:
    """Return the container's first process, as this machine sees it."""
    return psutil.Process(int(running.state("{{.State.Pid}}")))


def memory_mb(running: Running) -> float:
    """Return what the engine charges the container for, without the page cache."""
    told = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", running.name).split("/")[0].strip()
    assert told.endswith("MiB"), told
    return float(told.removesuffix("MiB")) * 1.048576


def test_it_is_ready_in_under_6_s_and_healthy_by_its_own_check(
    running: Running, drill_table: DrillTable
) -> None:
    ready(running)
    spent = process(running).cpu_times()
    # Of its one CPU: others use this machine too.
    cpu_s = spent.user + spent.system
    drill_table.add("container, start to ready", 1, f"{cpu_s:.1f} s of CPU")
    assert cpu_s < 6
    wait_for(lambda: running.health == "healthy", lambda: running.health)


def test_its_golden_rows_are_answered_as_when_the_release_was_made(running: Running, town: Town) -> None:
    url, headers = f"http://127.0.0.1:{running.port}", {"Authorization": f"Bearer {TOKEN}"}
    assert verify_served(url, town.release, headers=headers) == 3
    golden = read_golden(town.release)
    for instance, wanted in zip(golden.instances, golden.answers, strict=True):
        status, content = running.ask("POST", "/predict", {"instances": [instance]})
        assert status == 200
        assert differences(content["predictions"], [wanted]) == []
        wrong = {**wanted, "estimate": wanted["estimate"] * (1 + 1e-8)}
        assert differences(content["predictions"], [wrong]) != []


def test_amazons_contract_is_answered(running: Running) -> None:
    assert running.ask("GET", "/ping", token=None)[0] == 200
    status, content = running.ask("POST", "/invocations", {"instances": [ROW]})
    assert (status, len(content["predictions"])) == (200, 1)
    inputs = "3,1350.5,1950,false,Hill,200,2014-12-24"
    status, _ = running.ask("POST", "/invocations", inputs, kind="text/csv; header=absent")
    assert status == 200


def test_without_the_token_nobody_gets_a_price(running: Running) -> None:
    assert running.ask("POST", "/predict", {"instances": [ROW]}, token=None)[0] == 401


def test_it_holds_its_own_release_alone(running: Running, town: Town) -> None:
    info = running.ask("GET", "/model/info")[1]
    assert info["model"]["release"] == town.release.name == info["source"]["baked"]
    assert (info["source"]["kind"], info["bento"]) == ("baked", town.bento.tag)


def test_its_memory_stays_under_250_mb_and_no_secret_is_in_its_log(
    running: Running, drill_table: DrillTable
) -> None:
    asked = 10_000
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    body = json.dumps({"instances": [ROW] * ROWS})
    for _ in range(asked // ROWS):
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
    connection.close()
    used = memory_mb(running)
    drill_table.add("container, memory after predictions", asked, f"{used:.0f} MB")
    assert used < 250
    log = docker("logs", running.name)
    assert "initialized" in log
    assert CANARY not in log
    assert TOKEN not in log


def test_killed_it_is_healthy_again_by_itself(running: Running) -> None:
    kill = ["kill", "-KILL", running.state("{{.State.Pid}}")]
    # Not by the engine, which does not start again what it was told to kill; it is another user's process.
    subprocess.run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), *kill], check=True)
    wait_for(
        lambda: (
            int(running.state("{{.RestartCount}}")) == 1 and running.state("{{.State.Running}}") == "true"
        ),
        lambda: running.state("{{json .State}}"),
    )
    ready(running)
    wait_for(lambda: running.health == "healthy", lambda: running.health)
    assert running.ask("POST", "/predict", {"instances": [ROW]})[0] == 200


def test_stopped_it_ends_at_once_and_well_and_is_removed(town: Town, start: Start) -> None:
    stopped = ready(start(town.image.name, HEDONIC_API_TOKEN=TOKEN))
    docker("stop", "--time", "60", stopped.name)
    assert stopped.state("{{.State.ExitCode}}") == "0"
    docker("rm", stopped.name)
    assert "No such" in docker("inspect", stopped.name, check=False)


@pytest.mark.parametrize(
    ("host", "port", "user"),
    [("Render", 10000, None), ("Cloud Run", 8080, None), ("Hugging Face Spaces", 7860, "1000:1000")],
)
def test_it_listens_on_the_port_and_runs_as_the_user_that_a_host_gives_it(
    town: Town, start: Start, host: str, port: int, user: str | None
) -> None:
    options = {"HEDONIC_GUARD__ALLOW_ANONYMOUS": "true", "PORT": str(port)}
    hosted = ready(start(town.image.name, inside=port, user=user, **options))
    assert hosted.ask("POST", "/predict", {"instances": [ROW]}, token=None)[0] == 200
    opened = docker("exec", hosted.name, "cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    listening = [int(line.split()[1].rpartition(":")[2], 16) for line in opened if line.split()[3] == "0A"]
    assert listening == [port]  # one port, and no other
    docker("rm", "--force", hosted.name)


def test_beyond_loopback_without_a_token_it_ends_and_says_what_to_set(town: Town) -> None:
    done = docker("run", "--rm", town.image.name, "serve", check=False)
    assert "0.0.0.0: beyond loopback without a token" in done
    assert "HEDONIC_GUARD__ALLOW_ANONYMOUS=true" in done
    assert "Traceback" not in done


def test_other_words_and_a_port_that_is_none_are_refused(town: Town) -> None:
    assert "this image knows `serve` alone" in docker("run", "--rm", town.image.name, "bash", check=False)
    told = docker("run", "--rm", "--env", "PORT=many", town.image.name, check=False)
    assert "cannot listen: PORT: Input should be a valid integer" in told


def test_without_any_network_it_starts_and_answers(town: Town) -> None:
    name = docker(
        "run", "--detach", "--network", "none", "--read-only", "--tmpfs", "/tmp",
        "--env", "HEDONIC_GUARD__ALLOW_ANONYMOUS=true", town.image.name,
    )[-64:]  # fmt: skip
    try:
        check = ("sh", "-c", "python -IS /srv/bento/src/bentos/health.py && echo ready")
        wait_for(lambda: docker("exec", name, *check, check=False) == "ready", lambda: docker("logs", name))
        ask = (
            "import json, urllib.request as u; r = u.Request('http://127.0.0.1:8080/predict', "
            f"json.dumps({{'instances': [{ROW!r}]}}).encode(), {{'Content-Type': 'application/json'}}); "
            "print(json.load(u.urlopen(r))['model']['release'])"
        )
        assert docker("exec", name, "python", "-c", ask) == town.release.name
    finally:
        docker("rm", "--force", name)
