"""``hedonic explain-cache``: why each step of a training run will run, or will not."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.table import Table

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.cli.run import chosen_families
from hedonic.data.contract_file import load_contract
from hedonic.orchestration import find_callable, set_environment
from hedonic.settings import load_settings

EXPLAIN = "tasks/explanation.py:explain"
_SHOWN_REASONS = 12
_COLOURS = {"run": "yellow", "be kept": "blue", "depend": "default"}
_WORDS = {"run": "runs", "be kept": "is kept", "depend": "depends"}


def explain_cache(
    dataset: DatasetArgument = "king_county",
    trials: Annotated[int | None, typer.Option(min=1, help="Of the run that is asked about.")] = None,
    time_budget: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Likewise.")] = None,
    families: Annotated[str | None, typer.Option(metavar="A,B", help="Likewise.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Likewise.")] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say why each step of a training run will run or will not; nothing is trained."""
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    set_environment(os.environ, None, debug=debug)
    explanations = find_callable(settings.root, EXPLAIN)(
        dataset, trials, time_budget, chosen_families(contract, families), seed
    )
    if as_json:
        write_object({"dataset": dataset, "steps": explanations})
        return
    table = Table("step", "", "why", box=None, pad_edge=False)
    for found in explanations:
        hidden = len(found.why) - _SHOWN_REASONS
        more = [f"and {hidden} more: --json has all"] if hidden > 0 else []
        why = "\n".join([*found.why[:_SHOWN_REASONS], *more])
        table.add_row(found.step, f"[{_COLOURS[found.will]}]{_WORDS[found.will]}[/]", why)
    terminal(as_json=False).print(table)
