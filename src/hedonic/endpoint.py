"""The endpoint of a data set: its champion behind HTTP, as a supervised process on loopback."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import verify_release
from hedonic.serving.golden import verify_served
from hedonic.serving.source import champion_source
from hedonic.settings import Settings
from hedonic.supervisor import Process, Supervisor

READY_LIMIT_S = 90.0
_POLL_S = 0.1
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers for a data set.

    Attributes:
        release: the digest of the release that it serves.
        bento: the tag of the bento that it runs; None when it runs from the project's folder.
    """

    dataset: str
    url: str
    pid: int
    release: str
    bento: str | None


def process_name(dataset: str) -> str:
    """Return the name under which a data set's endpoint is supervised and logged."""
    return f"endpoint-{dataset}"


def start_endpoint(settings: Settings, dataset: str, port: int, limit_s: float = READY_LIMIT_S) -> Endpoint:
    """Return the endpoint, once it serves the champion that the pointer of ``dataset`` names.

    One that serves it already is left alone; one that serves another release is replaced: its callers
    wait for the new process, for the socket stays. Every golden row is asked over HTTP at the end.

    Raises:
        UserError: there is no champion yet, or the port is in use.
        ReleaseRefused: the release or its bento is not what it should be, or is answered otherwise.
        HedonicError: the process ended or did not get ready in ``limit_s`` seconds.
    """
    source = champion_source(settings.home, dataset)
    verify_release(source.folder, source.release)
    name, supervisor = process_name(dataset), Supervisor(settings)
    url = f"http://{settings.host}:{port}"
    supervisor.keep(_process(settings, dataset, port, source.release, source.bento))
    try:
        pid = _wait(supervisor, name, url, source.release, limit_s, settings.authorization)
        verify_served(url, source.folder, headers=settings.authorization)
    except HedonicError:
        supervisor.drop(name)
        raise
    return Endpoint(dataset, url, pid, source.release, source.bento)


def stop_endpoint(settings: Settings, dataset: str) -> None:
    """Stop the endpoint of a data set, if it runs."""
    Supervisor(settings).drop(process_name(dataset))


def endpoint_state(settings: Settings, dataset: str, port: int) -> Endpoint | None:
    """Return what answers for a data set now; None when nothing of ours does."""
    pid = Supervisor(settings).process_pid(process_name(dataset))
    url = f"http://{settings.host}:{port}"
    info = _info(url, settings.authorization, timeout_s=2.0)
    if pid is None or info is None or info["dataset"] != dataset:
        return None
    return Endpoint(dataset, url, pid, info["model"]["release"], info["bento"])


def _process(settings: Settings, dataset: str, port: int, release: str, bento: str | None) -> Process:
    """Return the process: BentoML's own worker on a socket that the supervisor holds.

    ``bentoml serve`` would put a second supervisor between ours and the worker: killed, it leaves the
    worker as an orphan on the port.
    """
    metrics = settings.home / "supervisor" / "metrics" / dataset / release[:16]
    metrics.mkdir(parents=True, exist_ok=True)
    what = settings.root if bento is None else _bento_folder(settings, bento)
    name = process_name(dataset)
    worker = (sys.executable, "-m", "_bentoml_impl.worker.service", str(what))
    return Process(
        name=name,
        arguments=(
            *worker,
            "--fd",
            f"$(circus.sockets.{name})",
            "--service-name",
            "Valuation",
            "--worker-id",
            "1",
        ),
        port=port,
        working_dir=what,
        environment={
            "HEDONIC_DATASET": dataset,
            "HEDONIC_RELEASE": release,  # another champion restarts the process
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        },
    )


def _bento_folder(settings: Settings, tag: str) -> Path:
    name, _, version = tag.partition(":")
    folder = settings.bentos / "bentos" / name / version
    if not (folder / "bento.yaml").is_file():
        raise ReleaseRefused(f"bento {tag}: not in {settings.bentos}. `hedonic run` builds it again.")
    return folder


def _wait(
    supervisor: Supervisor, name: str, url: str, release: str, limit_s: float, headers: Mapping[str, str]
) -> int:
    """Return the pid once the process is ready with that release."""
    deadline, first = time.monotonic() + limit_s, None
    while time.monotonic() < deadline:
        pid = supervisor.process_pid(name)
        first = first or pid
        if pid != first or supervisor.pid() is None:
            raise HedonicError(f"{name}: ended while starting. {_tail(supervisor.log(name))}")
        info = _info(url, headers, timeout_s=1.0)
        if pid is not None and info is not None and info["model"]["release"] == release:
            return pid
        time.sleep(_POLL_S)
    raise HedonicError(f"{name}: not ready on {url} after {limit_s:.0f} s. {_tail(supervisor.log(name))}")


def _info(url: str, headers: Mapping[str, str], timeout_s: float) -> dict[str, Any] | None:
    """Return what ``/model/info`` says once ``/readyz`` says yes; None before."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=timeout_s):
            pass
        asked = urllib.request.Request(f"{url}/model/info", headers=dict(headers))  # noqa: S310 (our endpoint)
        with opener.open(asked, timeout=timeout_s) as answer:
            content = json.load(answer)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"model", "dataset", "bento"} <= content.keys() else None


def _tail(log: Path) -> str:
    """Return the end of a log, for an error message."""
    if not log.is_file():
        return f"It wrote no log ({log})."
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return f"The end of {log}:\n" + "\n".join(lines)
