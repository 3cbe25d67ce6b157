"""``hedonic pull``: the champion of a shared history and its release, brought to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract_file import load_contract
from hedonic.settings import load_settings


def pull(
    dataset: DatasetArgument = "king_county",
    bootstrap: Annotated[
        bool,
        typer.Option("--bootstrap", help="There may be no champion yet: the first candidate has no rival."),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring the champion here from the shared history and store, or fail."""
    from hedonic.pulling import pull_champion

    settings = load_settings()
    load_contract(settings.expectations / f"{dataset}.yaml")
    pulled = pull_champion(settings, dataset, bootstrap=bootstrap)
    release = pulled.champion.release if pulled.champion else None
    told = f"champion {release}" if release else "no champion yet (--bootstrap)"
    terminal(as_json=as_json).print(f"{dataset}: {told}", markup=False)
    if as_json:
        write_object({"dataset": dataset, "champion": release, "folder": pulled.folder})
