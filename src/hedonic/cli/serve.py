"""``hedonic serve`` and ``hedonic down``: endpoints of champions, started and stopped."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from hedonic.answer import curl, endpoint_url, example_row
from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.cli.status import read_champions
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError, UserError
from hedonic.monitoring.repair import repair
from hedonic.settings import Settings, load_settings


def serve(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every data set that has a champion.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C or SIGTERM, then stop what was started.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Serve champions on their ports, in the background, until `hedonic down`."""
    from hedonic.rollback.refused_champion import start_or_tell

    settings = load_settings()
    served: dict[str, str] = {}
    refused: list[str] = []
    console = terminal(as_json=as_json)
    for name in _datasets(settings, dataset):
        contract = load_contract(settings.expectations / f"{name}.yaml")
        for found in repair(settings, name):
            console.print(found.sentence, style="yellow", markup=False)
        try:
            with console.status(f"starting the endpoint of {name}"):
                endpoint = start_or_tell(settings, contract)
        except UserError:
            raise
        except HedonicError as err:  # the others are served all the same
            refused.append(f"{name}: {err}")
            continue
        if endpoint.to_do:
            console.print(endpoint.to_do, markup=False)
            continue
        served[name] = endpoint_url(settings, contract)
        console.print(f"{name} is served at {served[name]} until: hedonic down", markup=False)
        console.print(curl(served[name], [example_row(contract)]), markup=False)
    if refused:
        raise HedonicError("\n".join(refused))
    if as_json:
        write_object({"endpoints": served})
    if foreground:
        _hold(settings, list(served))


def down(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Stop everything that Hedonic started."""
    from hedonic.roll_out import forget_containers
    from hedonic.supervisor import stop_all

    settings = load_settings()
    stopped = stop_all(settings) + forget_containers(settings)
    terminal(as_json=as_json).print(f"stopped: {', '.join(stopped) or 'nothing was running'}", markup=False)
    if as_json:
        write_object({"stopped": stopped})


def _hold(settings: Settings, datasets: list[str]) -> None:
    """Wait for Ctrl-C or SIGTERM; then stop the endpoints. The supervisor keeps them alive meanwhile."""
    from hedonic.roll_out import take_back

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    for dataset in datasets:
        take_back(settings, dataset)


def _datasets(settings: Settings, dataset: str | None) -> list[str]:
    """Return the data sets to serve: those asked for, which must have a champion.

    Raises:
        UserError: there is none.
    """
    asked = [dataset] if dataset else sorted(path.stem for path in settings.expectations.glob("*.yaml"))
    champions = read_champions(settings, asked)
    crowned = [name for name, record in champions.items() if record]
    if not crowned:
        raise UserError(
            f"{dataset or 'serve'}: no champion yet, so there is nothing to serve. "
            f"Make one with: hedonic run {dataset or ''}".rstrip()
        )
    return crowned
