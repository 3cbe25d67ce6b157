"""``hedonic up``: everything on one machine, kept running until Ctrl-C; and ``hedonic logs``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from hedonic.cli.console import DebugOption, terminal
from hedonic.cli.status import read_champions
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError, UserError
from hedonic.monitoring.alerts import AlertFeed, Told
from hedonic.monitoring.repair import repair
from hedonic.parts import (
    Part,
    parts,
    refuse_open_pages,
    refuse_used_ports,
    server_part,
    start,
    url,
    wait_until_ready,
)
from hedonic.settings import Settings, load_settings
from hedonic.supervisor import Running, Supervisor, stop_all

_LOOK_EVERY_S = 1.0
_LINES = 40
_STYLES = {"info": "green", "warning": "yellow", "critical": "red"}


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave everything running, until `hedonic down`.")
    ] = False,
    first_champion: Annotated[
        bool, typer.Option(help="Train a first champion of each data set that has none.")
    ] = True,
    debug: DebugOption = False,
) -> None:
    """Start Prefect, a worker, the watcher, MLflow, Optuna, the endpoints and the front page."""
    settings, console = load_settings(), terminal(as_json=False)
    refuse_open_pages(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    refuse_used_ports(settings)
    alerts = AlertFeed(settings)
    # Both end it cleanly, also where a shell started it in the background and had SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        _start(settings, console, partial(_welcome, settings, train=first_champion))
        if detach:
            return
        console.print("\nCtrl-C ends all of it.")
        _watch(settings, console, alerts)
    except KeyboardInterrupt:
        _stop(settings, console)
    except BaseException:
        _stop(settings, console)
        raise


def logs(
    part: Annotated[str | None, typer.Argument(metavar="[PART]", help="Default: list the parts.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="From the end.")] = _LINES,
) -> None:
    """Print what a part logged: prefect, worker, watcher, mlflow, optuna, front-page, endpoint-<data set>."""
    settings = load_settings()
    known = sorted(path.stem for path in settings.logs.glob("*.log"))
    if part is None:
        typer.echo("\n".join(known) or "nothing has logged yet: hedonic up")
        return
    if part not in known:
        raise UserError(f"{part}: has no log. There are: {', '.join(known) or 'none yet'}.")
    with Supervisor(settings).log(part).open(encoding="utf-8", errors="replace") as log:
        typer.echo("".join(log.readlines()[-lines:]), nl=False)
        while follow:
            more = log.read()
            typer.echo(more, nl=False) if more else time.sleep(_LOOK_EVERY_S / 4)


def _start(settings: Settings, console: Console, welcome: Callable[[str], str] | None = None) -> None:
    """Start all parts in their order, each waited for.

    Args:
        settings: of the project.
        console: on which it is told.
        welcome: what is done with a data set that has no champion, before anything can train it, and what
            is told of it; None: it is left to the watcher.
    """
    from hedonic.deployments import deploy, end_lost_runs
    from hedonic.rollback.refused_champion import start_or_tell

    def tell(part: Part) -> None:
        console.print(f"  {part.title:<12} {_page(settings, part)}", markup=False, highlight=False)

    server, others = server_part(settings), parts(settings)
    with console.status("starting Prefect"):
        start(settings, server, *(part for part in others if not part.needs_server))
        wait_until_ready(settings, server, tell)
    with console.status("deploying the flows"):
        deploy(settings)
    for lost in end_lost_runs(settings):
        sentence = (
            f"  {lost}: was under way when the machine or `hedonic up` ended, and has no process any more"
        )
        console.print(sentence, style="yellow", markup=False, highlight=False)
    champions = read_champions(settings, _datasets(settings))
    with console.status("looking at the data sets"):
        new = {name: welcome(name) for name, champion in champions.items() if welcome and champion is None}
    with console.status("starting the other parts"):
        start(settings, *(part for part in others if part.needs_server))
        for part in others:
            wait_until_ready(settings, part, tell)
    for name, champion in champions.items():
        if champion is not None:
            contract = load_contract(settings.expectations / f"{name}.yaml")
            for found in repair(settings, name):
                console.print(f"  {found.sentence}", style="yellow", markup=False)
            try:
                with console.status(f"starting the endpoint of {name}"):
                    told = start_or_tell(settings, contract).url
            except UserError:
                raise
            except HedonicError as err:  # the others run all the same
                told = f"is not served. {err}"
            console.print(f"  {name:<12} {told}", markup=False, highlight=False)
        elif name in new:
            console.print(f"  {name:<12} {new[name]}", markup=False, highlight=False)


def _welcome(settings: Settings, dataset: str, *, train: bool) -> str:
    """Return what is told of a data set that has no champion; the watcher knows what it holds now.

    Its training is asked for here or not at all: the watcher's first sight of it must not start another.
    """
    from hedonic.deployments import request_first_champion
    from hedonic.watching.look import take_note

    try:
        contract = load_contract(settings.expectations / f"{dataset}.yaml")
        run = request_first_champion(settings, dataset) if train else None
        take_note(settings, contract)
    except (HedonicError, OSError) as err:  # the others run all the same
        return f"has no champion. {err}"
    return (
        f"trains its first champion: {run}" if run else f"has no champion. Train one: hedonic run {dataset}"
    )


def _watch(settings: Settings, console: Console, alerts: AlertFeed) -> None:
    """Return when all was stopped by another command; tell each alert, and each part that was restarted.

    A supervisor that does not answer for a while (the machine is busy) ends nothing.
    """
    supervisor = Supervisor(settings)
    seen: dict[str, Running] = {}
    answers = True
    while True:
        time.sleep(_LOOK_EVERY_S)
        for told in alerts.news():
            _tell(console, told)
        if supervisor.is_abandoned():
            console.print("the supervisor ended: everything is started again", style="yellow")
            _start(settings, console)
            seen.clear()
        if supervisor.pid() is None:
            console.print("everything was stopped by `hedonic down`")
            return
        try:
            found = supervisor.running()
        except HedonicError as err:
            if answers:
                console.print(f"{err}; all goes on, and it is asked again", style="yellow", markup=False)
            answers = False
            continue
        answers = True
        for name, running in found.items():
            if running.pid is not None and seen.setdefault(name, running) != running:
                if seen[name].definition == running.definition:
                    console.print(f"{name} ended and was restarted; see: hedonic logs {name}", style="yellow")
                seen[name] = running


def _tell(console: Console, told: Told) -> None:
    """Print one line."""
    style = _STYLES[told.alert.severity] if told.event == "raised" else "green"
    console.print(told.sentence, style=style, markup=False, highlight=False, soft_wrap=True)


def _stop(settings: Settings, console: Console) -> None:
    """Stop everything, whatever is pressed meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from hedonic.roll_out import forget_containers

    with console.status("stopping"):
        stopped = stop_all(settings) + forget_containers(settings)
    console.print(f"stopped: {', '.join(stopped) or 'nothing ran'}", markup=False)


def _page(settings: Settings, part: Part) -> str:
    address = url(settings, part)
    return "running" if address is None else f"{address}{part.page or ''}"


def _datasets(settings: Settings) -> list[str]:
    return sorted(path.stem for path in settings.expectations.glob("*.yaml"))
