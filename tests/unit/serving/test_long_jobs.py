"""Long jobs: the work goes on after the answer, can be ended, and errors have our shape."""

import asyncio
import json
import os
import socket
import sqlite3

import pytest

from hedonic.errors import HedonicError
from hedonic.serving.job_store import RESULT_STORE, fail_orphans, place_job_store
from hedonic.serving.long_jobs import MAX_JOBS, LongJobs
from tests.asgi import ask, echo, scope_of


class Framework:
    """BentoML's task routes, as far as they can be seen: it answers, then works."""

    def __init__(self):
        self.go_on, self.done, self.canceled = asyncio.Event(), [], []
        self.n_submitted = 0

    async def __call__(self, scope, receive, send):
        path, query = scope["path"], scope["query_string"].decode()
        if path in ("/score/submit", "/score/retry"):
            task_id = f"t{self.n_submitted}"
            self.n_submitted += 1
            await self.answer(send, 200, {"task_id": task_id, "status": "in_progress"})
            await self.go_on.wait()
            self.done.append(task_id)
        elif path == "/score/cancel":
            self.canceled.append(query)
            await self.answer(send, 400, {"error": "task cancellation is not supported"})
        elif not query:
            await self.answer(send, 400, {"error": "task_id is required"})
        elif "unknown" in query:
            await self.answer(send, 404, {"error": "task_id not found"})
        elif "running" in query:
            await self.answer(send, 400, {"error": "task running is not completed yet"})
        elif "refused" in query:
            await self.answer(
                send,
                400,
                {"error": {"code": "invalid_csv", "message": "m", "problems": []}, "request_id": "r"},
            )
        else:
            await self.answer(send, 200, {"predictions": "x" * 200_000})

    async def answer(self, send, status, content):
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def run(drive):
    async def main():
        framework = Framework()
        async with asyncio.timeout(20):
            return await drive(framework, LongJobs(framework))

    return asyncio.run(main())


def test_who_submits_is_answered_at_once_and_the_work_goes_on():
    async def drive(framework, jobs):
        answer = await asyncio.wait_for(ask(jobs, b"{}", path="/score/submit"), 5)
        assert (answer.status, answer.json["task_id"], framework.done) == (200, "t0", [])
        framework.go_on.set()
        while not framework.done:
            await asyncio.sleep(0)

    run(drive)


def test_a_job_is_canceled_once_and_only_while_it_runs():
    async def drive(framework, jobs):
        await ask(jobs, b"{}", path="/score/submit")
        cancel = {"method": "PUT", "path": "/score/cancel", "query": b"task_id=t0"}
        answer = await ask(jobs, **cancel)
        assert (answer.status, answer.json) == (200, {"task_id": "t0", "status": "canceled"})
        assert framework.canceled == ["task_id=t0"]  # BentoML writes it down
        framework.go_on.set()
        again = await ask(jobs, **cancel)
        assert (again.status, again.error) == (409, "not_running")
        assert framework.done == []

    run(drive)


def test_so_many_jobs_and_no_more_are_taken_at_once():
    async def drive(framework, jobs):
        for _ in range(MAX_JOBS):
            assert (await ask(jobs, b"{}", path="/score/submit")).status == 200
        answer = await ask(jobs, b"{}", path="/score/submit")
        assert (answer.status, answer.error) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        framework.go_on.set()
        while len(framework.done) < MAX_JOBS:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (await ask(jobs, b"{}", path="/score/submit")).status == 200

    run(drive)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"task_id=unknown", 404, "unknown_task"),
        (b"task_id=running", 409, "task_not_finished"),
        (b"task_id=refused", 400, "invalid_csv"),
    ],
)
def test_errors_have_the_shape_of_all(query, status, code):
    async def drive(_framework, jobs):
        scope = scope_of("GET", "/score/get", query=query)
        answer = await ask(jobs, scope=scope)
        assert (answer.status, answer.error) == (status, code)
        assert scope["hedonic.exchange"].answered

    run(drive)


def test_a_result_passes_unchanged_and_all_other_paths_pass_by():
    async def drive(_framework, jobs):
        answer = await ask(jobs, method="GET", path="/score/get", query=b"task_id=good")
        assert len(answer.json["predictions"]) == 200_000
        assert (await ask(LongJobs(echo), b"hello", path="/explain")).body == b"hello"

    run(drive)


def test_tasks_are_kept_in_our_home_in_a_file_of_this_service_alone(tmp_path):
    host, environment, folder = socket.gethostname(), {}, tmp_path / "tasks"
    folder.mkdir()
    kept = {f"{host}-{os.getppid()}.db", "otherhost-1.db"}
    for name in (*kept, f"{host}-999999999.db", f"{host}-{os.getpid()}.db-wal", "oldhost-1.db"):
        (folder / name).write_bytes(b"of another service, or of one before")
    os.utime(folder / "oldhost-1.db", (0, 0))
    path = place_job_store(environment, tmp_path)
    assert environment == {RESULT_STORE: str(path)}
    assert path == folder / f"{host}-{os.getpid()}.db"
    assert {file.name for file in folder.iterdir()} == kept


def test_without_a_home_tasks_are_kept_in_a_temporary_folder_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = place_job_store({}, None).parent
    assert folder == tmp_path / f"hedonic-tasks-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("os.getuid", lambda: 12345)
    (tmp_path / "hedonic-tasks-12345").mkdir()
    with pytest.raises(HedonicError, match="belongs to another user"):
        place_job_store({}, None)


def test_what_a_dead_worker_had_begun_has_failed(tmp_path):
    from _bentoml_impl.tasks import Sqlite3Store

    path = tmp_path / "tasks.db"
    Sqlite3Store.init_db(str(path))
    with sqlite3.connect(path) as connection:
        insert = "INSERT INTO result (task_id, name, input, status) VALUES (?, 'score', '', ?)"
        connection.execute(insert, ("lost", "in_progress"))
        connection.execute(insert, ("kept", "canceled"))
    assert fail_orphans(path) == 1

    async def read():
        async with Sqlite3Store(str(path)) as store:
            status = (await store.get_status("lost")).status.value
            found = await store._conn.execute("SELECT result FROM result WHERE task_id = 'lost'")
            return status, await store.serializer.deserialize_response((await found.fetchone())[0])

    status, response = asyncio.run(read())
    assert (status, response.status_code) == ("failed", 503)
    assert json.loads(response.body)["error"]["code"] == "task_lost"
