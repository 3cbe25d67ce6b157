"""``hedonic task``: one step alone, in this process, from the inputs of the last run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hedonic.cli.console import JsonOption, terminal, write_object
from hedonic.orchestration import find_callable, set_environment
from hedonic.settings import load_settings

RUN_ALONE = "tasks/single.py:run_alone"


def task(
    name: Annotated[str, typer.Argument(metavar="STEP", help="Such as validate, tune, train or evaluate.")],
    dataset: Annotated[str, typer.Option(metavar="DATA SET", help="A contract in expectations/.")] = (
        "king_county"
    ),
    as_json: JsonOption = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Keep inputs, output and artifacts as files; tracebacks.")
    ] = False,
) -> None:
    """Run one step alone, without a server, on what the last run gave it; no result is kept for later."""
    settings = load_settings()
    set_environment(os.environ, None, debug=debug)
    console = terminal(as_json=as_json)
    alone = find_callable(settings.root, RUN_ALONE)(name, dataset, dump=debug)
    console.print(f"[green]done[/] {name} of {dataset}: {alone.seconds:.1f} s", soft_wrap=True)
    if alone.folder:
        console.print(f"inputs, output and artifacts: {alone.folder}", markup=False)
    if as_json:
        write_object({"dataset": dataset, "step": name, **alone.model_dump(mode="json")})
