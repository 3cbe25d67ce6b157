"""The parts that ``hedonic up`` keeps running: Prefect's server and worker, the watcher, and the pages."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hedonic.data.contract_file import load_contract
from hedonic.errors import ContractError, HedonicError, UserError
from hedonic.serving.listening import is_loopback
from hedonic.settings import ServicePart, Settings
from hedonic.supervisor import Process, Supervisor, log_tail, port_owner

READY_LIMIT_S = 180.0
WORK_POOL = "hedonic"
_POLL_S = 0.2
_TRIES = 4

# A run starts seconds after it was asked for, and a flow whose process is gone is noticed.
_WORKER_ENVIRONMENT = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@dataclass(frozen=True, slots=True)
class Part:
    """A process that is kept running.

    Attributes:
        title: as the front page names it.
        service: the name under which settings know its address; None where it opens no port.
        port: that the process opens itself; None for none.
        setting: the variable that moves the port.
        page: where a person opens it, as a path below its port; None where there is nothing to see.
        probe: a path that answers with status 200 once it is ready; None: it is ready when it runs.
        needs_server: whether it starts once Prefect's server is ready and knows our flows.
        elsewhere: whether it runs in a container of its own, and is not ours to start.
    """

    process: Process
    title: str
    service: ServicePart | None = None
    port: int | None = None
    setting: str = ""
    page: str | None = None
    probe: str | None = None
    needs_server: bool = False
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """Return the name under which it is supervised and logged."""
        return self.process.name


def server_part(settings: Settings) -> Part:
    """Return Prefect's server, which all others report to."""
    return Part(
        Process("prefect", _module("hedonic.deployments.server")),
        title="Prefect",
        service="prefect",
        elsewhere=settings.services.prefect is not None,
        port=settings.ports.prefect,
        setting="HEDONIC_PORTS__PREFECT",
        page="/",
        probe="/api/health",
    )


def parts(settings: Settings) -> tuple[Part, ...]:
    """Return the parts beside Prefect's server."""
    host, ports, away = settings.host, settings.ports, settings.services
    worker = ("--pool", WORK_POOL, "--type", "process", "--name", socket.gethostname())
    mlflow = ("server", "--host", host, "--port", str(ports.mlflow), "--workers", "1")
    # Without its class a journal that no study wrote yet is refused.
    kind = "RDBStorage" if settings.studies_url else "JournalFileStorage"
    studies = (str(settings.studies), "--storage-class", kind)
    optuna = (*studies, "--host", host, "--port", str(ports.optuna), "--server", "wsgiref", "--quiet")
    path = {"PATH": f"{_tools()}:/usr/local/bin:/usr/bin:/bin"}  # MLflow calls uvicorn by its name
    return (
        Part(
            # The runs that it started end by themselves, and tell the server so.
            Process(
                "worker",
                _module("hedonic.deployments.worker", *worker),
                environment=_WORKER_ENVIRONMENT,
                children_stay=True,
            ),
            title="Worker",
            needs_server=True,
            elsewhere=away.prefect is not None,
        ),
        Part(
            Process("watcher", _module("tasks.watcher")),
            title="Watcher",
            needs_server=True,
            elsewhere=away.prefect is not None,
        ),
        Part(
            Process("mlflow", _module("mlflow", *mlflow), environment=path),
            title="MLflow",
            service="mlflow",
            elsewhere=away.mlflow is not None,
            port=ports.mlflow,
            setting="HEDONIC_PORTS__MLFLOW",
            page="/",
            probe="/health",
        ),
        Part(
            Process("optuna", (str(_tools() / "optuna-dashboard"), *optuna)),
            title="Optuna",
            service="optuna",
            elsewhere=away.optuna is not None,
            port=ports.optuna,
            setting="HEDONIC_PORTS__OPTUNA",
            page="/dashboard/",
            probe="/dashboard/",
        ),
        Part(
            Process("front-page", _module("hedonic.front_page")),
            title="Front page",
            service="front_page",
            port=ports.front_page,
            setting="HEDONIC_PORTS__FRONT_PAGE",
            page="/",
            probe="/healthz",
        ),
    )


def refuse_open_pages(settings: Settings) -> None:
    """Refuse to start beyond loopback: what Prefect, MLflow and Optuna serve asks nobody who they are.

    Raises:
        UserError: with how the pages are reached from elsewhere.
    """
    if is_loopback(settings.host):
        return
    pages = [part for part in (server_part(settings), *parts(settings)) if part.port is not None]
    tunnel = " ".join(f"-L {part.port}:127.0.0.1:{part.port}" for part in pages)
    raise UserError(
        f"HEDONIC_HOST={settings.host}: beyond loopback everyone who reaches this machine could start runs "
        "and read all of it, for Prefect, MLflow and Optuna's dashboard ask nobody who they are. Unset "
        f"HEDONIC_HOST, and reach the pages through a tunnel: ssh {tunnel} USER@MACHINE. The endpoints alone "
        "may stand beyond loopback, with a token: HEDONIC_HOST=… HEDONIC_API_TOKEN=… hedonic serve"
    )


def refuse_used_ports(settings: Settings) -> None:
    """Refuse to start while something else listens on a port of ours.

    Raises:
        UserError: all such ports at once, each with who listens and how to move ours.
    """
    running = set(Supervisor(settings).names())
    problems = []
    for name, title, port, remedy in _ports(settings):
        owner = port_owner(settings.host, port) if name not in running else None
        if owner is not None:
            problems.append(f"port {port} ({title}) is in use by {owner}; move ours: {remedy}")
    if problems:
        raise UserError(f"{'; '.join(problems)}. Or stop what listens there.")


def _ports(settings: Settings) -> Iterator[tuple[str, str, int, str]]:
    """Yield each port of ours: the process's name, its title, the port, and what moves it."""
    for part in (server_part(settings), *parts(settings)):
        if part.port is not None and not part.elsewhere:
            yield part.name, part.title, part.port, part.setting
    for path in sorted(settings.expectations.glob("*.yaml")):
        with contextlib.suppress(ContractError):  # told by what trains from it; the others run all the same
            contract = load_contract(path)
            moves = f"serve.port in expectations/{path.name}"
            yield f"endpoint-{contract.name}", f"endpoint of {contract.name}", contract.serve.port, moves


def start(settings: Settings, *wanted: Part) -> None:
    """Keep the parts running from now on."""
    if isinstance(settings.studies, Path):
        settings.studies.parent.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(settings)
    for part in wanted:
        if not part.elsewhere:
            supervisor.keep(part.process)


def wait_until_ready(
    settings: Settings, part: Part, tell: Callable[[Part], None], limit_s: float = READY_LIMIT_S
) -> None:
    """Return once the part is ready, and tell so.

    Raises:
        HedonicError: it is not within the limit, or ends again and again; with the end of its log.
    """
    supervisor = Supervisor(settings)
    pids: set[int] = set()
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and len(pids) < _TRIES:
        if is_ready(settings, part):
            tell(part)
            return
        if (pid := supervisor.process_pid(part.name)) is not None:
            pids.add(pid)
        time.sleep(_POLL_S)
    told = "ends again and again" if len(pids) >= _TRIES else f"is not ready after {limit_s:.0f} s"
    raise HedonicError(f"{part.title} {told}. {log_tail(supervisor.log(part.name))}")


def is_ready(settings: Settings, part: Part) -> bool:
    """Return whether the part runs and answers."""
    if not part.elsewhere and Supervisor(settings).process_pid(part.name) is None:
        return False
    return part.probe is None or _answers(f"{url(settings, part)}{part.probe}")


def url(settings: Settings, part: Part) -> str | None:
    """Return the address of the part; None when it opens no port."""
    return None if part.service is None else settings.address(part.service)


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def _tools() -> Path:
    return Path(sys.executable).parent
