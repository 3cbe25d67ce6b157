"""``hedonic score``: a table in, the same table with estimates out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hedonic.cli.console import DebugOption, JsonOption, figures_table, terminal, write_object
from hedonic.cli.progress import StepLines
from hedonic.data.contract_file import load_contract
from hedonic.data.source import resolve
from hedonic.orchestration import choose_api, run_flow, set_environment
from hedonic.scoring.file import format_of
from hedonic.settings import load_settings

SCORE = "flows/score.py:score"


def score(
    dataset: Annotated[str, typer.Argument(metavar="DATA SET", help="A contract in expectations/.")],
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Table: .csv, .parquet or .jsonl, a path or a URI.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="Table to write, in the format of its suffix.")
    ],
    keep_refused: Annotated[
        bool,
        typer.Option("--keep-refused", help="Write rows that break the contract too, with their problems."),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Answer every row of a table by the champion, as its endpoint does, whatever the table's length."""
    settings = load_settings()
    load_contract(settings.expectations / f"{dataset}.yaml")
    for uri in (source, target):
        format_of(uri)
    parameters = {
        "dataset": dataset,
        "source": resolve(source, Path.cwd()),
        "target": resolve(target, Path.cwd()),
        "keep_refused": keep_refused,
    }
    settings.home.mkdir(parents=True, exist_ok=True)
    api = choose_api(settings, os.environ.get("PREFECT_API_URL"))
    set_environment(os.environ, api, debug=debug)
    console = terminal(as_json=as_json)
    with StepLines(console, first="starting") as lines:
        scoring = run_flow(settings.root, SCORE, parameters, lines)
    console.print(figures_table(scoring.model_dump()))
    if as_json:
        write_object(scoring)
