"""Endpoints of a test's own: `bentoml serve` with settings, its worker process, and bare sockets to it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.serving.conftest import ROOT, Served, serving_environment, wait_until_ready


def command(port: int, *options: str) -> list[str]:
    """Return the command that serves the project on a port."""
    return [sys.executable, "-m", "bentoml", "serve", *options, "--port", str(port), "."]


def crown(home: Path, release: Path) -> None:
    """Write the pointer that names a release below ``home`` as the champion of its data set."""
    pointer = {
        "format_version": 1,
        "dataset": release.parent.name,
        "release": release.name,
        "folder": release.relative_to(home).as_posix(),
        "bento": None,
        "promoted_at": "2026-01-01T00:00:00Z",
    }
    (home / "serving").mkdir(parents=True, exist_ok=True)
    (home / "serving" / f"{release.parent.name}.json").write_text(json.dumps(pointer))


def environment(home: Path, release: Path, **settings: str) -> dict[str, str]:
    """Return the environment of an endpoint that serves ``release``."""
    return serving_environment(home) | {"HEDONIC_DATASET": release.parent.name} | settings


def start_endpoint(
    stack: contextlib.ExitStack, home: Path, release: Path, **settings: str
) -> tuple[Served, psutil.Process]:
    """Return a ready endpoint that serves ``release`` until ``stack`` ends, and its worker process."""
    crown(home, release)
    served = Served(free_port(), release, home / "serve.log")
    log = stack.enter_context(served.log.open("w"))
    process = subprocess.Popen(
        command(served.port),
        cwd=ROOT,
        env=environment(home, release, **settings),
        stdout=log,
        stderr=log,
    )
    stack.callback(process.wait, 60)
    stack.callback(process.send_signal, signal.SIGTERM)
    wait_until_ready(served, process)
    return served, worker_of(process.pid)


def refused_to_start(
    home: Path, release: Path, *options: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Return how `bentoml serve` ended that was asked to serve a release it should refuse."""
    crown(home, release)
    return subprocess.run(
        command(free_port(), *options), cwd=ROOT, env=environment(home, release, **settings),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def worker_of(pid: int) -> psutil.Process:
    """Return the process that answers, of the command with this id."""
    family = psutil.Process(pid).children(recursive=True)
    (worker,) = [child for child in family if "_bentoml_impl.worker.service" in " ".join(child.cmdline())]
    return worker


def opened(port: int, head: str, timeout: float = 20) -> socket.socket:
    """Return a connection on which the head of a prediction request was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.sendall(
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode()
    )
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            got += part
    return got
