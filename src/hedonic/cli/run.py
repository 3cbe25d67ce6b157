"""``hedonic run``: the whole flow, from a table of sales to a released and served price model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hedonic.answer import describe
from hedonic.cli.console import (
    DatasetArgument,
    DebugOption,
    JsonOption,
    figures_table,
    terminal,
    write_object,
    written_table,
)
from hedonic.cli.progress import StepLines
from hedonic.cli.status import read_champions
from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.errors import UserError
from hedonic.orchestration import choose_api, find_callable, run_flow, set_environment
from hedonic.settings import Settings, load_settings

# The front door reaches the flows by these names alone.
TRAIN = "flows/train.py:train"
# Given the same parameters, returns the flow's result when there is nothing to train, else None.
RECOGNISE = "tasks/outcome.py:recognise"

NOT_PROMOTED = 3
_COLOURS = {"promoted": "green", "parked": "magenta", "kept": "yellow", "refused": "red", "unchanged": "blue"}


def run(
    dataset: DatasetArgument = "king_county",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of the search; default: the contract's.")
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Stop the search after this long.")
    ] = None,
    families: Annotated[
        str | None, typer.Option(metavar="A,B", help="Families to search; default: all in the contract.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    from_step: Annotated[str | None, typer.Option(help="Do this step and all after it again.")] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="A,B", help="Do these steps alone, on what the others left.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    require_promotion: Annotated[
        bool, typer.Option("--require-promotion", help="Exit 3 unless the candidate is champion.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check the data, tune, train, gate, release and serve a price model."""
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    parameters = {
        "dataset": dataset,
        "trials": trials,
        "time_budget_s": time_budget,
        "families": chosen_families(contract, families),
        "seed": seed,
        "from_step": from_step,
        "steps": tuple(name.strip() for name in steps.split(",")) if steps is not None else None,
        "reason": reason,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    settings.home.mkdir(parents=True, exist_ok=True)
    api = choose_api(settings, os.environ.get("PREFECT_API_URL"))
    set_environment(os.environ, api, debug=debug)
    console = terminal(as_json=as_json)
    result = _run(settings.root, api, given, console)
    _show(console, result, contract, settings.root)
    if as_json:
        write_object(_content(dataset, result))
    if require_promotion and not _is_champion(settings, dataset, result):
        raise typer.Exit(NOT_PROMOTED)


def _run(root: Path, api: str | None, parameters: Mapping[str, Any], console: Console) -> Any:
    with StepLines(console, first="starting") as lines:
        if api is None and not {"from_step", "steps"} & parameters.keys():
            # Without a server to report to, an unchanged data set need not start one.
            recognise = find_callable(root, RECOGNISE)
            known = recognise(**parameters)
            if known is not None:
                return known
        console.print(f"Prefect: {'in process' if api is None else api}", style="dim", markup=False)
        return run_flow(root, TRAIN, parameters, lines)


def chosen_families(contract: Contract, families: str | None) -> tuple[str, ...] | None:
    """Return the families named on the command line, None for all in the contract.

    Raises:
        UserError: the contract has no space for one of them.
    """
    if families is None:
        return None
    asked = tuple(name.strip() for name in families.split(",") if name.strip())
    unknown = [name for name in asked if name not in contract.search.families]
    if unknown or not asked:
        raise UserError(
            f"--families {families}: {contract.name} searches {', '.join(contract.search.families)}"
            + (f", not {', '.join(unknown)}" if unknown else "")
        )
    return asked


def _is_champion(settings: Settings, dataset: str, result: Any) -> bool:
    """Return whether the run promoted; an unchanged data set answers for the run that judged it.

    What that run promoted and a roll-back left since is not champion.
    """
    if result.outcome != "unchanged":
        return bool(result.outcome == "promoted")
    champion = read_champions(settings, [dataset])[dataset]
    was_left = champion is not None and champion.kind == "rolled_back" and champion.release != result.release
    held = result.standing in ("champion", "archived") and not was_left
    return bool(result.verdict and result.verdict.promoted and held)


def _show(console: Console, result: Any, contract: Contract, root: Path) -> None:
    summary = result.verdict.summary if result.verdict else ""
    colour = _COLOURS.get(result.outcome, "white")
    console.print(f"[bold {colour}]{result.outcome}[/]", end=" ")
    console.print(f"{contract.name}: {summary}", markup=False)
    if result.standing == "challenger":
        console.print(
            f"awaiting approval: hedonic approve {contract.name} --reason '…', or hedonic reject",
            style="bold",
        )
    if result.figures:
        console.print(figures_table(result.figures))
    if result.written:
        console.print(written_table(result.written, root))
    prediction = _first(result.prediction)
    if prediction:
        console.print(describe(prediction), markup=False)
    if result.to_do:
        console.print(result.to_do, markup=False, style="bold")
    if result.endpoint:
        console.print(f"served at {result.endpoint} until: hedonic down", markup=False)
        console.print(f"ask it: hedonic predict {contract.name}", markup=False)


def _first(prediction: Any) -> Mapping[str, Any] | None:
    """Return the prediction of an answer, or the prediction itself."""
    if isinstance(prediction, Mapping) and prediction.get("predictions"):
        prediction = prediction["predictions"][0]
    return prediction if isinstance(prediction, Mapping) and "estimate" in prediction else None


def _content(dataset: str, result: Any) -> dict[str, Any]:
    names = (
        "outcome",
        "standing",
        "verdict",
        "release",
        "bento",
        "endpoint",
        "prediction",
        "to_do",
        "figures",
        "written",
    )
    return {"dataset": dataset, **{name: getattr(result, name) for name in names}}
