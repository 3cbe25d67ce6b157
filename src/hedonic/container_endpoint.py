"""The endpoint of a data set as a container: the old one stays until the next one answers."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from hedonic.endpoint import Endpoint, process_name
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.images.book import BuiltImage
from hedonic.images.building import build_release_image
from hedonic.images.engine import Container, Engine, NoEngine
from hedonic.model.manifest import verify_release
from hedonic.port_switch import Target, read_target, target_path, write_target
from hedonic.readiness import release_at
from hedonic.serving.golden import verify_served
from hedonic.serving.source import Source, champion_source
from hedonic.settings import Settings
from hedonic.supervisor import Process, Supervisor

READY_LIMIT_S = 120.0
PORT_INSIDE = 8080
HOME, DATASET = "hedonic.home", "hedonic.dataset"
LOG_URL, TOKEN = "HEDONIC_PREDICTION_LOG_URL", "HEDONIC_API_TOKEN"

# What of our own environment a container gets: who may ask, and where answers are logged.
_PASSED_ON = ("HEDONIC_GUARD__", "HEDONIC_TRAFFIC__", "HEDONIC_PREDICTION_LOG_", "HEDONIC_LOG_RETENTION_DAYS")
_POLL_S, _DRAIN_S, _GRACE_S = 0.1, 15.0, 20


def start_container(
    settings: Settings, dataset: str, port: int, limit_s: float = READY_LIMIT_S
) -> tuple[Endpoint, BuiltImage]:
    """Return the endpoint and its image, once a container of the champion's image answers on ``port``.

    The next container is started beside the old one and must answer its golden rows before the port leads
    to it; then the old one ends what it began and is removed. If the next one fails, the old one goes on.

    Raises:
        UserError: no engine answers, or there is no champion; the message ends with the command to run.
        ReleaseRefused: the release, its bento or its image is not what it should be, or answers otherwise.
        HedonicError: the container ended, or did not get ready in ``limit_s`` seconds.
    """
    source = champion_source(settings.home, dataset)
    verify_release(source.folder, source.release)
    engine = _engine(source, dataset)
    image = build_release_image(settings, engine, source.bento or "", source.folder)
    path, before = target_path(settings, dataset), read_target(target_path(settings, dataset))
    running = engine.container(before.container) if before else None
    environment = _environment(settings, running)
    if before and running and running.is_running and _is_same(running, image, environment):
        target = before
    else:
        target = _started(settings, engine, dataset, image, environment)
    try:
        _wait(settings, engine, target, source.release, limit_s)
        verify_served(f"http://127.0.0.1:{target.port}", source.folder, headers=settings.authorization)
    except HedonicError:
        if target != before:
            engine.remove(target.container)
        raise
    write_target(path, target)
    switch = _switch(dataset, port, path)
    supervisor, url = Supervisor(settings), f"http://{settings.host}:{port}"
    supervisor.keep(switch)
    verify_served(url, source.folder, timeout_s=30.0, headers=settings.authorization)
    pid = supervisor.process_pid(switch.name) or 0
    _retire(settings, engine, dataset, target, pid)
    return Endpoint(dataset, url, pid, source.release, source.bento), image


def _switch(dataset: str, port: int, path: Path) -> Process:
    """Return the process that passes what comes on the endpoint's port on to the container in the file."""
    name = process_name(dataset)
    words = (sys.executable, "-m", "hedonic.port_switch", f"$(circus.sockets.{name})", str(path))
    return Process(name=name, arguments=words, port=port)


def stop_containers(settings: Settings, dataset: str | None = None) -> list[str]:
    """Return the names of the containers of this HEDONIC_HOME (of one data set) that ran; they are removed.

    Raises:
        NoEngine: nobody can be asked to.
    """
    engine = Engine.open()
    asked = {HOME: _mark(settings), **({DATASET: dataset} if dataset else {})}
    found = [one.name for one in engine.containers(asked)]
    for name in found:
        engine.remove(name, _GRACE_S)
    if not engine.containers({HOME: _mark(settings)}):
        engine.remove_network(_network(settings))
    return found


def logs_to_a_server(environment: Mapping[str, str]) -> bool:
    """Return whether answers are logged where a container reaches it: a file of ours is none of its own."""
    return environment.get(LOG_URL, "").startswith("postgresql")


def _engine(source: Source, dataset: str) -> Engine:
    if source.bento is None:
        raise ReleaseRefused(
            f"{dataset}: release {source.release[:16]} has no bento to make an image of. "
            f"`hedonic run {dataset}` builds one."
        )
    try:
        return Engine.open()
    except NoEngine as err:
        raise UserError(
            f"{dataset}: release {source.release[:16]} is champion and its bento {source.bento} is built, "
            f"but it was not rolled out: {err} Then: hedonic serve {dataset}. Or, without containers: "
            f"HEDONIC_ROLL_OUT=process hedonic serve {dataset}"
        ) from err


def _is_same(running: Container, image: BuiltImage, environment: Mapping[str, str]) -> bool:
    """Return whether a container runs this very image as we would start it now."""
    ours = {
        name: value for name, value in running.environment.items() if name.startswith((*_PASSED_ON, TOKEN))
    }
    return running.image_id == image.id and ours == environment


def _started(
    settings: Settings, engine: Engine, dataset: str, image: BuiltImage, environment: Mapping[str, str]
) -> Target:
    """Return a container of the image, just started on a port of its own."""
    engine.keep_network(_network(settings))
    port = _free_port()
    name = f"{image.name.replace(':', '-')}-{_mark(settings)}-{port}"
    try:
        engine.start(
            name, image.name, inside=PORT_INSIDE, port=port, network=_network(settings),
            environment=environment, labels={HOME: _mark(settings), DATASET: dataset},
        )  # fmt: skip
    except HedonicError:
        engine.remove(name)
        raise
    return Target(container=name, image=image.name, port=port)


def _environment(settings: Settings, running: Container | None) -> dict[str, str]:
    """Return what a container is told, in place of the one that runs.

    Raises:
        UserError: that one asks for a token, and we know of none.
    """
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    if not logs_to_a_server(passed):
        passed.pop(LOG_URL, None)
    token = (settings.api_token or "").strip()
    if token:
        return {**passed, TOKEN: token}
    if running is not None and TOKEN in running.environment:  # nothing opens a door by being silent about it
        raise UserError(f"{running.name} asks for a token: set {TOKEN}, or first end it by `hedonic down`.")
    # It is published on loopback alone, on a network where containers do not reach each other.
    return {"HEDONIC_GUARD__ALLOW_ANONYMOUS": "true", **passed}


def _wait(settings: Settings, engine: Engine, target: Target, release: str, limit_s: float) -> None:
    """Return once the container serves the release."""
    url, deadline = f"http://127.0.0.1:{target.port}", time.monotonic() + limit_s
    while time.monotonic() < deadline:
        served = release_at(url, settings.authorization)
        if served == release:
            return
        found = engine.container(target.container)
        if served is not None or found is None or not found.is_running:
            break
        time.sleep(_POLL_S)
    told = engine.log_tail(target.container) if engine.container(target.container) else "it is gone"
    raise HedonicError(
        f"{target.container}: does not serve release {release[:16]}. The end of what it wrote:\n{told}"
    )


def _retire(settings: Settings, engine: Engine, dataset: str, kept: Target, switch: int) -> None:
    """Remove the containers that the port no longer leads to, once nobody is connected or after a while."""
    for old in engine.containers({HOME: _mark(settings), DATASET: dataset}):
        if old.name == kept.container:
            continue
        deadline = time.monotonic() + _DRAIN_S
        while _is_connected(switch, old.port) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        engine.remove(old.name, _GRACE_S)


def _is_connected(pid: int, port: int | None) -> bool:
    """Return whether the switch still passes something on to a port."""
    try:
        opened = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port for one in opened)


def _mark(settings: Settings) -> str:
    """Return what tells the containers of this HEDONIC_HOME from those of another."""
    return hashlib.sha256(str(settings.home).encode()).hexdigest()[:8]


def _network(settings: Settings) -> str:
    return f"hedonic-{_mark(settings)}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
