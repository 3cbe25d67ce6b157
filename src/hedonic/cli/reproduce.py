"""``hedonic reproduce``: an old release made again from its record, or the first thing that differs."""

from __future__ import annotations

from typing import Annotated

import typer

from hedonic.cli.console import DebugOption, JsonOption, print_checks, terminal, write_object
from hedonic.settings import load_settings

NOT_THE_SAME = 1


def reproduce(
    dataset: Annotated[str, typer.Argument(metavar="DATA SET", help="A contract's name.")],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Of the registered model, or the beginning of a digest.")
    ],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on with other code, another lock or a study that time cut.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make an old release again, aside; exit 0 where model, release and bento are the same, else 1."""
    from hedonic.provenance.reproduction import reproduce as make_again

    console = terminal(as_json=as_json)
    found = make_again(
        load_settings(),
        dataset,
        version,
        anyway=anyway,
        on_ingredients=lambda checks: print_checks(console, checks),
        tell=lambda told: console.print(told, style="dim", markup=False),
    )
    if found.results is not None:
        print_checks(console, found.results)
    if found.same:
        console.print(f"[green]the same[/] model, release and bento: {found.release}")
    else:
        console.print(f"the first difference: {found.difference}", style="red", markup=False)
        if found.results is None:
            console.print("nothing was made. --anyway makes it with what is here.")
    if as_json:
        write_object({**found.model_dump(mode="json"), "same": found.same})
    if not found.same:
        raise typer.Exit(NOT_THE_SAME)
