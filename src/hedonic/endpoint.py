"""The endpoint of a data set: its champion behind HTTP, as a supervised process on loopback.

The process follows the pointer: another champion is taken in place, without a failed request, as long as
the code that serves it is the same. Other code is another process, which takes over the socket.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.model.manifest import verify_release
from hedonic.promotion.bento import bento_code, code_digest, stored_bento
from hedonic.promotion.built_bento import verify_bento
from hedonic.promotion.pointer import pointer_path
from hedonic.promotion.recorded_bento import recorded_files
from hedonic.readiness import looks, ready_info, refuse_what_was_refused, serves
from hedonic.serving.golden import verify_served
from hedonic.serving.source import Source, champion_source
from hedonic.settings import Settings
from hedonic.supervisor import Process, Supervisor, log_tail

READY_LIMIT_S = 90.0
FOLLOW_S = 0.2
TOKEN, CODE, BENTO = "HEDONIC_API_TOKEN", "HEDONIC_CODE", "HEDONIC_BENTO"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers for a data set.

    Attributes:
        release: the digest of the release that it serves.
        pid: None where it runs in a container of its own.
        bento: the tag of the bento whose code it runs, which may be that of an earlier champion; None when
            it runs from the project's folder.
        to_do: what somebody must do before it serves the release; None where it serves it.
    """

    dataset: str
    url: str
    pid: int | None
    release: str
    bento: str | None
    to_do: str | None = None

    @property
    def told(self) -> str:
        """Return what it serves and where, or what there is to do before it does, in a sentence."""
        return self.to_do or f"{self.url} serves {self.release[:12]}"


def process_name(dataset: str) -> str:
    """Return the name under which a data set's endpoint is supervised and logged."""
    return f"endpoint-{dataset}"


def start_endpoint(
    settings: Settings, dataset: str, port: int, limit_s: float = READY_LIMIT_S, *, stays: bool = False
) -> Endpoint:
    """Return the endpoint, once it serves the champion that the pointer of ``dataset`` names.

    One that serves it already is left alone. One that serves another release by the same code takes the
    champion in place, or refuses it and goes on serving what it serves. One of other code is replaced: its
    callers wait for the new process, for the socket stays. Every golden row is asked over HTTP at the end.
    One that runs elsewhere is not ours to start: it follows the pointer, and is waited for.

    Args:
        settings: name the project.
        dataset: the data set.
        port: of the endpoint.
        limit_s: for it to get ready.
        stays: whether a process that does not come to answer rightly goes on, because the caller moves its
            pointer to another release at once; else it ends.

    Raises:
        UserError: there is no champion yet, or the port is in use.
        ReleaseRefused: the release or its bento is not what it should be, or is answered otherwise.
        HedonicError: the process ended or did not get ready in ``limit_s`` seconds.
    """
    source = champion_source(settings.home, dataset)
    verify_release(source.folder, source.release)
    url = settings.endpoint_address(dataset, port)
    if settings.services.endpoint is not None:
        return _await_elsewhere(settings, source, dataset, url, limit_s)
    name, supervisor = process_name(dataset), Supervisor(settings)
    process = _process(settings, supervisor, dataset, port, source.bento)
    before = supervisor.process_pid(name)
    supervisor.keep(process)
    waiting = _Waiting(supervisor, name, url, source.release, settings.authorization)
    if before is not None and supervisor.process_pid(name) == before:
        asked_at = _ask_to_look_again(settings, dataset)
        pid = waiting.for_swap(before, asked_at, limit_s)
    else:
        try:
            pid = waiting.for_start(limit_s)
        except HedonicError:
            if not stays:
                supervisor.drop(name)
            raise
    try:
        verify_served(url, source.folder, headers=settings.authorization)
    except HedonicError:
        if not stays:
            supervisor.drop(name)
        raise
    return Endpoint(dataset, url, pid, source.release, process.environment[BENTO] or None)


def _await_elsewhere(settings: Settings, source: Source, dataset: str, url: str, limit_s: float) -> Endpoint:
    """Return the endpoint once the container of its own that follows the pointer serves the champion."""
    asked_at = _ask_to_look_again(settings, dataset)
    for info in looks(url, settings.authorization, limit_s):
        if serves(info, source.release):
            verify_served(url, source.folder, headers=settings.authorization)
            return Endpoint(dataset, url, None, source.release, info["bento"])
        refuse_what_was_refused(info, source.release, asked_at, url)
    raise HedonicError(
        f"{url}: does not serve release {source.release[:16]} after {limit_s:.0f} s. Does its container run, "
        f"with our HEDONIC_HOME and HEDONIC_RELEASE_URI=champion:{dataset}? See its log."
    )


def _ask_to_look_again(settings: Settings, dataset: str) -> datetime:
    """Return when the pointer was touched: a release that was refused before is looked at again."""
    asked_at = datetime.now(UTC)
    with contextlib.suppress(FileNotFoundError):
        os.utime(pointer_path(settings.home, dataset))
    return asked_at


def stop_endpoint(settings: Settings, dataset: str) -> None:
    """Stop the endpoint of a data set, if it runs.

    Raises:
        UserError: it runs elsewhere.
    """
    if settings.services.endpoint is not None:
        raise UserError(
            f"{dataset}: its endpoint runs in a container of its own (HEDONIC_SERVICES__ENDPOINT): stop that."
        )
    Supervisor(settings).drop(process_name(dataset))


def endpoint_state(settings: Settings, dataset: str, port: int) -> Endpoint | None:
    """Return what answers for a data set now; None when nothing of ours does."""
    url = settings.endpoint_address(dataset, port)
    info = ready_info(url, settings.authorization)
    if settings.services.endpoint is not None:
        if info is None or info["dataset"] != dataset:
            return None
        return Endpoint(dataset, url, None, info["model"]["release"], info["bento"])
    pid = Supervisor(settings).process_pid(process_name(dataset))  # now: it may be another
    if pid is None or info is None or info["dataset"] != dataset:
        return None
    return Endpoint(dataset, url, pid, info["model"]["release"], info["bento"])


def _process(
    settings: Settings, supervisor: Supervisor, dataset: str, port: int, bento: str | None
) -> Process:
    """Return the process: BentoML's own worker on a socket that the supervisor holds.

    ``bentoml serve`` would put a second supervisor between ours and the worker: killed, it leaves the
    worker as an orphan on the port. What runs the same code already stays as it is.
    """
    name = process_name(dataset)
    what = settings.root if bento is None else bento_folder(settings, bento)
    code = bento_code(what) if bento is not None else code_digest(settings.root)
    kept = supervisor.environment(name)
    if bento is not None and code is not None and kept.get(CODE) == code and kept.get(BENTO):
        with contextlib.suppress(ReleaseRefused):  # gone or damaged: the new one serves
            bento, what = kept[BENTO], bento_folder(settings, kept[BENTO])
    metrics = settings.home / "supervisor" / "metrics" / dataset / (code or "unknown")[:16]
    metrics.mkdir(parents=True, exist_ok=True)
    worker = (sys.executable, "-m", "_bentoml_impl.worker.service", str(what))
    # A token that this command does not know stays: nothing opens a door by being silent about it.
    token = (settings.api_token or "").strip() or kept.get(TOKEN)
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
            "HEDONIC_RELEASE_URI": f"champion:{dataset}",
            "HEDONIC_RELEASE": "",  # what follows the champion is not held to one release
            "HEDONIC_FOLLOW_S": str(FOLLOW_S),
            CODE: code or "",
            BENTO: bento or "",
            # Compiled sources beside a bento's own are outside its digest: they are not looked at.
            "PYTHONPYCACHEPREFIX": str(settings.home / "supervisor" / "compiled"),
            "PYTHONSAFEPATH": "1",  # nor is what lies in the working directory imported by its name
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            **({TOKEN: token} if token else {}),
        },
    )


def bento_folder(settings: Settings, tag: str) -> Path:
    """Return the folder of a bento in the store, whose files are what its tag and the history say.

    Raises:
        ReleaseRefused: it is not there, or a file of it is changed, missing or extra.
        HedonicError: the history cannot be asked.
    """
    folder = stored_bento(settings.bentos, tag)
    verify_bento(folder, recorded_files(settings, tag))
    return folder


@dataclass(frozen=True, slots=True)
class _Waiting:
    """For a release to be served by a process."""

    supervisor: Supervisor
    name: str
    url: str
    release: str
    headers: Mapping[str, str]

    def for_start(self, limit_s: float, first: int | None = None) -> int:
        """Return the pid once the process that was just started is ready with the release."""
        for info in looks(self.url, self.headers, limit_s):
            pid = self.supervisor.process_pid(self.name)
            first = first or pid
            if pid != first or self.supervisor.pid() is None:
                raise HedonicError(f"{self.name}: ended while starting. {self._tail()}")
            if pid is not None and serves(info, self.release):
                return pid
        raise HedonicError(f"{self.name}: not ready on {self.url} after {limit_s:.0f} s. {self._tail()}")

    def for_swap(self, running: int, asked_at: datetime, limit_s: float) -> int:
        """Return the pid once the process serves the release in place.

        Raises:
            ReleaseRefused: the process refused it since ``asked_at``, and serves what it served.
            HedonicError: it did neither in ``limit_s`` seconds, or died of it.
        """
        for info in looks(self.url, self.headers, limit_s):
            pid = self.supervisor.process_pid(self.name)
            if pid not in (None, running):  # it died, and the supervisor started it again
                return self.for_start(limit_s, pid)
            if serves(info, self.release):
                return running
            refuse_what_was_refused(info, self.release, asked_at, self.name)
        raise HedonicError(
            f"{self.name}: does not serve release {self.release[:16]} on {self.url} after {limit_s:.0f} s; "
            f"it was left running. {self._tail()}"
        )

    def _tail(self) -> str:
        return log_tail(self.supervisor.log(self.name))
