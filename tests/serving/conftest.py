"""A real endpoint: `bentoml serve` in the project's folder, with a tiny release as the champion."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.tiny_release import tiny_release

ROOT = Path(__file__).parents[2]
READY_LIMIT_S = 120


def crown(home, folder, bento=None):
    """Write the pointer that names the release in ``folder`` as the champion."""
    pointer = {
        "format_version": 1,
        "dataset": "tiny_town",
        "release": folder.name,
        "folder": folder.relative_to(home).as_posix(),
        "bento": bento,
        "promoted_at": "2026-01-01T00:00:00Z",
    }
    (home / "serving").mkdir(exist_ok=True)
    written = home / "serving" / f".tiny_town.{os.getpid()}-{threading.get_ident()}"
    written.write_text(json.dumps(pointer))
    written.replace(home / "serving" / "tiny_town.json")  # whole, for a service may be looking


def serving_environment(home):
    return {
        **os.environ, "HEDONIC_ROOT": str(ROOT), "HEDONIC_HOME": str(home), "HEDONIC_DATASET": "tiny_town",
        "BENTOML_HOME": str(home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip


def serve_command(port):
    return [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port), "."]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running endpoint."""

    port: int
    release: Path
    log: Path

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def post(self, content, path="/predict", kind="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, {"Content-Type": kind} if kind else {})

    def predict(self, *rows, path="/predict"):
        return self.post({"instances": list(rows)}, path)


def wait_until_ready(served, process):
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if served.ask("GET", "/readyz").status == 200:
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the endpoint did not get ready: {served.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    home = tmp_path_factory.mktemp("hedonic_home")
    release = tiny_release(home / "releases")
    crown(home, release)
    served = Served(free_port(), release, home / "serve.log")
    with served.log.open("w") as log:
        process = subprocess.Popen(
            serve_command(served.port), cwd=ROOT, env=serving_environment(home), stdout=log, stderr=log
        )
        try:
            wait_until_ready(served, process)
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
