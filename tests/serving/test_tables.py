"""Tables at a real endpoint: Amazon's contract, long jobs, and the container's command."""

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import bentoml
import pytest
from bentoml.exceptions import BentoMLException

from hedonic.promotion.bento import RECIPE, build_bento, served_sources
from hedonic.serving.table_parts import PART_ROWS
from tests.endpoints import start_endpoint
from tests.ports import free_port
from tests.serving.conftest import ROOT, Served, serving_environment, wait_until_ready
from tests.tiny_release import ROW, tiny_model, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

HEADER = ",".join(ROW)
LINE = "3,1350.5,1950,false,Hill,200,2014-12-24"
CSV = {"Content-Type": "text/csv"}
TOKEN = {"Authorization": "Bearer secret-token"}
N_MANY, N_LONG = 40_000, 200_000


def lines(n_rows, header=True):
    return ((HEADER + "\n" if header else "") + f"{LINE}\n" * n_rows).encode()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return an endpoint that takes 100 rows at a time, logs to disk and asks for a token."""
    home = tmp_path_factory.mktemp("hedonic_home")
    release = tiny_release(home / "releases", tiny_model(serve={"port": 3999, "max_rows": 100}))
    with contextlib.ExitStack() as stack:
        served, worker = start_endpoint(
            stack,
            home,
            release,
            HEDONIC_API_TOKEN="secret-token",
            HEDONIC_GUARD__METRICS_OPEN="true",
            HEDONIC_GUARD__MAX_TABLE_BYTES=str(12 * 2**20),
        )
        yield served, worker, home


def status_of(served, task_id):
    return served.ask("GET", f"/score/status?task_id={task_id}", headers=TOKEN).json["status"]


def submit(served, body):
    answer = served.ask("POST", "/score/submit", body, CSV | TOKEN)
    assert answer.status == 200, answer.body
    return answer.json["task_id"]


def test_curl_sends_a_csv_table_and_gets_one(served):
    command = ["curl", "-s", "-i", f"http://127.0.0.1:{served.port}/invocations", "--data-binary", "@-"]
    options = ["-H", "content-type: text/csv", "-H", "accept: text/csv"]
    done = subprocess.run([*command, *options], input=lines(230), capture_output=True, timeout=60, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"content-type: text/csv" in head
    answered = body.decode().splitlines()
    assert answered[0] == "estimate,low_80,high_80,low_90,high_90,confidence_grade,warnings"
    estimate = served.predict(ROW).json["predictions"][0]["estimate"]
    assert [float(line.partition(",")[0]) for line in answered[1:]] == [estimate] * 230


def test_the_containers_contract_of_amazon(served):
    assert served.ask("GET", "/ping").status == 200
    headers = {"Content-Type": "text/csv; header=absent", "Accept": "text/csv"}
    answer = served.ask("POST", "/invocations", lines(3, header=False), headers)
    assert (answer.status, len(answer.body.splitlines())) == (200, 3)
    answer = served.post({"instances": [ROW] * 7}, "/invocations")  # five at a time is the contract's limit
    assert answer.json["predictions"] == served.predict(ROW).json["predictions"] * 7
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "path"),
    [
        (lines(2) + b"3,x,1950,false,Hill,,\n", "text/csv", 400, "invalid_request", "instances[2].area"),
        (b"a,b\n1,2\n", "text/csv", 400, "invalid_request", "a"),
        (b"", "text/csv", 400, "invalid_csv", None),
        (b"{}", "application/json", 400, "invalid_json", None),
        (b"x", "application/x-pickle", 415, "unsupported_media_type", None),
    ],
)
def test_a_table_that_is_refused_is_refused_in_the_shape_of_every_error(
    served, body, kind, status, code, path
):
    for route in ("/invocations", "/score"):
        answer = served.ask("POST", route, body, {"Content-Type": kind})
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        if path is not None:
            assert answer.json["error"]["problems"][0]["path"] == path


def test_a_table_of_megabytes_is_answered_while_others_are_answered_too(large):
    served, _, _ = large
    answers = []
    table = threading.Thread(
        target=lambda: answers.append(served.ask("POST", "/invocations", lines(N_MANY), CSV | TOKEN))
    )
    table.start()
    n_singles = 0
    body = json.dumps({"instances": [ROW]}).encode()
    while table.is_alive():
        assert (
            served.ask("POST", "/predict", body, {"Content-Type": "application/json"} | TOKEN).status == 200
        )
        n_singles += 1
    assert answers[0].status == 200
    assert len(answers[0].json["predictions"]) == N_MANY
    assert n_singles > 20


def test_bentoml_client_submits_a_long_job_and_gets_its_result(served):
    async def drive():
        async with bentoml.AsyncHTTPClient(f"http://127.0.0.1:{served.port}") as client:
            task = await client.score.submit(instances=[ROW] * 230)
            while (await task.get_status()).value == "in_progress":
                await asyncio.sleep(0.02)
            again = await task.retry()
            while (await again.get_status()).value == "in_progress":
                await asyncio.sleep(0.02)
            direct = await client.invocations(instances=[ROW] * 230)
            return await task.get_status(), await task.get(), await again.get(), direct

    status, first, second, direct = asyncio.run(drive())
    assert status.value == "completed"
    assert first["predictions"] == second["predictions"] == direct["predictions"]
    assert direct["predictions"] == served.predict(ROW).json["predictions"] * 230


def test_the_synchronous_client_of_bentoml_1_4_39_submits_and_then_fails_by_a_fault_of_its_own(served):
    """See bentoml/BentoML#5706: drop the workaround from the docs when this test fails."""
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{served.port}") as client:
        with pytest.raises(AttributeError, match="_opened_files"):
            client.score.submit(instances=[ROW])
        client._opened_files = []
        task = client.score.submit(instances=[ROW])
        wait_for(lambda: task.get_status().value == "completed")
        assert task.get()["predictions"] == served.predict(ROW).json["predictions"]
        with pytest.raises(BentoMLException):
            task.cancel()  # it is finished


def test_a_long_job_is_canceled_and_never_finishes(large):
    served, _, _ = large
    running = [submit(served, lines(N_LONG)) for _ in range(2)]
    for task_id in reversed(running):
        answer = served.ask("PUT", f"/score/cancel?task_id={task_id}", headers=TOKEN)
        assert (answer.status, answer.json) == (200, {"task_id": task_id, "status": "canceled"})
        assert status_of(served, task_id) == "canceled"
        assert served.ask("PUT", f"/score/cancel?task_id={task_id}", headers=TOKEN).status == 409
        assert served.ask("GET", f"/score/get?task_id={task_id}", headers=TOKEN).status == 409
    after = submit(served, lines(5))  # the turn was given on
    wait_for(lambda: status_of(served, after) == "completed")


def test_a_refused_table_fails_as_a_job_with_its_problems(large):
    served, _, _ = large
    task_id = submit(served, b"a,b\n1,2\n")
    wait_for(lambda: status_of(served, task_id) == "failed")
    answer = served.ask("GET", f"/score/get?task_id={task_id}", headers=TOKEN)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")


def test_long_jobs_are_behind_the_token_and_the_limits(large):
    served, _, _ = large
    for method, route in (
        ("POST", "submit"),
        ("GET", "status"),
        ("GET", "get"),
        ("PUT", "cancel"),
        ("POST", "retry"),
    ):
        assert served.ask(method, f"/score/{route}?task_id=x", b"" if method != "GET" else None).status == 401
    large_one = CSV | TOKEN | {"Content-Length": str(13 * 2**20)}
    assert served.ask("POST", "/score/submit", b"x", large_one).status == 413
    assert served.ask("POST", "/score/submit", b"x", {"Content-Type": "text/plain"} | TOKEN).status == 415
    for task_id in ("", "?task_id=x"):
        answer = served.ask("GET", f"/score/get{task_id}", headers=TOKEN)
        assert answer.status == (404 if task_id else 400)
        assert set(answer.json) == {"error", "request_id"}


def test_jobs_are_kept_in_the_home_and_logged_in_parts_and_counted(large):
    served, _, home = large
    answer = served.ask("POST", "/score/submit", lines(2 * PART_ROWS + 1), CSV | TOKEN)
    wait_for(lambda: status_of(served, answer.json["task_id"]) == "completed")
    assert len(list((home / "tasks").glob("*.db"))) == 1
    request_id = answer.headers["x-request-id"]

    def logged():
        with sqlite3.connect(home / "prediction_log.db") as log:
            query = (
                "SELECT request_id, n_rows, route FROM hedonic_answered WHERE request_id LIKE ? ORDER BY seq"
            )
            return log.execute(query, (f"{request_id}%",)).fetchall()

    wait_for(lambda: len(logged()) == 3)
    assert logged() == [
        (request_id, 100, "/score/submit"),
        (f"{request_id}.100", 100, "/score/submit"),
        (f"{request_id}.200", 1, "/score/submit"),
    ]
    assert 'route="/score/submit"' in served.ask("GET", "/metrics").body.decode()


def test_a_job_of_a_worker_that_dies_has_failed(tmp_path):
    release = tiny_release(tmp_path / "releases")
    with contextlib.ExitStack() as stack:
        served, worker = start_endpoint(stack, tmp_path, release)
        task_id = served.ask("POST", "/score/submit", lines(N_LONG), CSV).json["task_id"]
        worker.kill()

        def failed():
            try:
                return served.ask("GET", f"/score/status?task_id={task_id}").json.get("status") == "failed"
            except (OSError, ValueError):
                return False

        wait_for(failed)
        answer = served.ask("GET", f"/score/get?task_id={task_id}")
        assert (answer.status, answer.json["error"]["code"]) == (503, "task_lost")


def test_the_containers_command_serves_the_bento_on_the_port_that_is_asked_for(tmp_path):
    """What an image runs, with Amazon's word and PORT."""
    project, home = tmp_path / "project", tmp_path / "home"
    for path in (*served_sources(ROOT), RECIPE):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, project / path)
    (project / "requirements-serve.txt").write_text("bentoml==1.4.39\n")
    release = tiny_release(tmp_path / "releases")
    bento = build_bento(project, release, home / "bentoml", promoted=True)
    served = Served(free_port(), release, tmp_path / "serve.log")
    environment = {
        name: value for name, value in serving_environment(home).items()
        if name not in ("HEDONIC_ROOT", "HEDONIC_HOME", "HEDONIC_DATASET")
    } | {
        "PYTHONPATH": str(bento.folder / "src"), "HEDONIC_HOST": "127.0.0.1", "PORT": str(served.port),
        "TMPDIR": str(tmp_path),
    }  # fmt: skip
    with served.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentos.container", "serve"],
            cwd=bento.folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(served, process)
        assert served.ask("GET", "/ping").status == 200
        answer = served.ask("POST", "/invocations", lines(7), CSV)
        assert answer.json["predictions"] == served.predict(ROW).json["predictions"] * 7
        task_id = served.ask("POST", "/score/submit", lines(7), CSV).json["task_id"]
        wait_for(lambda: served.ask("GET", f"/score/status?task_id={task_id}").json["status"] == "completed")
        assert len(list(tmp_path.glob("hedonic-tasks-*/*.db"))) == 1  # no HEDONIC_HOME: a temporary folder
        assert served.ask("GET", "/model/info").json["bento"] == bento.tag
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
