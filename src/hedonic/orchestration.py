"""Prefect's client: which API a run reports to, and the flow run itself, watched step by step."""

from __future__ import annotations

import http.client
import importlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from hedonic.errors import HedonicError, UserError
from hedonic.settings import Settings

_PROBE_TIMEOUT_S = 2.0
_FINISHED = "Finished in state "
_SERVER_STARTS = 5


@dataclass(frozen=True, slots=True)
class StepMessage:
    """A line that a step of the flow logged; ``ended`` is its final state, None while it runs."""

    step: str
    level: int
    text: str
    ended: str | None


def choose_api(settings: Settings, given: str | None) -> str | None:
    """Return the API that a run reports to, None for none: the run is then in process.

    The user's ``PREFECT_API_URL`` comes first, then a healthy server on the configured port. The
    address that ``hedonic env`` prints is the latter: it does not oblige anyone to start a server.

    Raises:
        UserError: the user's own API cannot be reached.
    """
    ours = settings.environment()["PREFECT_API_URL"]
    if given and given.rstrip("/") != ours:
        if not _listens(given):
            raise UserError(
                f"PREFECT_API_URL={given}: nothing listens there. Start that server, or unset the variable: "
                "without it a run uses the server on the configured port, or none."
            )
        return given
    return ours if is_healthy(ours) else None


def is_healthy(api: str) -> bool:
    """Return whether a Prefect server answers at this API address."""
    parts = urlsplit(api)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}/health")
        answer = connection.getresponse()
        return answer.status == http.HTTPStatus.OK and answer.read(16).strip() == b"true"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def set_environment(environment: MutableMapping[str, str], api: str | None, *, debug: bool) -> None:
    """Set what Prefect reads when it is imported: the API, and how much reaches the terminal.

    What a step logs still reaches the API, and so the UI: only the terminal is kept quiet.
    """
    if api is None:
        environment.pop("PREFECT_API_URL", None)
        environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "true"
        environment.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    else:
        environment["PREFECT_API_URL"] = api
    if not debug:
        environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
        environment.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


def find_callable(root: Path, entrypoint: str) -> Callable[..., Any]:
    """Return what ``folder/module.py:name`` names.

    Raises:
        UserError: the project has no such file, or the file no such name.
    """
    file, _, name = entrypoint.partition(":")
    missing = UserError(
        f"{root / file}: no {name} there: the project's folder is not whole. Restore it from git."
    )
    if not (root / file).is_file():
        raise missing
    if sys.path[0] != str(root):
        # First, because distributions named flows and tasks exist.
        sys.path.insert(0, str(root))
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None:
        raise missing
    return found


def run_flow(
    root: Path, entrypoint: str, parameters: Mapping[str, Any], on_message: Callable[[StepMessage], None]
) -> Any:
    """Return the result of the flow, run in this process; ``set_environment`` was called before.

    Raises:
        UserError: the parameters do not fit the flow.
        HedonicError: the flow failed for a reason that it states.
    """
    from prefect.exceptions import ParameterBindError, ParameterTypeError
    from prefect.logging.configuration import setup_logging
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        start_server()
    setup_logging()  # now: when Prefect does it at the first run, it takes our handler away
    flow = find_callable(root, entrypoint)
    with _watched(on_message):
        try:
            return flow(**parameters)
        except (ParameterTypeError, ParameterBindError) as err:
            raise UserError(f"{entrypoint}: {err}") from err


def start_server() -> str:
    """Return the address of the server of an in-process run, once it is ours that answers there.

    Prefect draws a port and takes whatever answers on it for the server that it started: of two runs
    that draw the same one, the second would lose its server when the first ends. The server ends with
    this process.

    Raises:
        HedonicError: none of several starts came to listen on its own port.
    """
    from prefect.server.api.server import SubprocessASGIServer

    for _ in range(_SERVER_STARTS):
        server = SubprocessASGIServer()
        server.start()
        if server.server_process is not None and _holds(server.server_process.pid, server.port):
            return server.api_url
        server.stop()
    raise HedonicError(
        f"Prefect's own server did not get a port in {_SERVER_STARTS} starts. Start one by hand "
        '(prefect server start) after `eval "$(hedonic env)"`, and run again.'
    )


def _holds(pid: int, port: int | None) -> bool:
    """Return whether the process listens on the port."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


@contextmanager
def _watched(on_message: Callable[[StepMessage], None]) -> Iterator[None]:
    """Pass every line that a task logs to ``on_message``, from whichever thread it runs in."""
    watcher = _Watcher(on_message)
    logger = logging.getLogger("prefect.task_runs")
    logger.addHandler(watcher)
    try:
        yield
    finally:
        logger.removeHandler(watcher)


class _Watcher(logging.Handler):
    def __init__(self, on_message: Callable[[StepMessage], None]) -> None:
        super().__init__(level=logging.INFO)
        self._on_message = on_message

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        ended = text.removeprefix(_FINISHED) if text.startswith(_FINISHED) else None
        step = str(getattr(record, "task_name", record.name))
        self._on_message(StepMessage(step=step, level=record.levelno, text=text, ended=ended))


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False
