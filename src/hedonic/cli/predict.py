"""``hedonic predict``: ask the running endpoint for a price."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hedonic.answer import ask, describe, example_row
from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract_file import load_contract
from hedonic.errors import UserError
from hedonic.settings import load_settings

FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE|-", help="A row, or a list of rows, as JSON; - is standard input."),
]


def predict(
    dataset: DatasetArgument = "king_county",
    source: FromOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask the running endpoint for a price; without --from, for the contract's example."""
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    rows = [example_row(contract)] if source is None else read_rows(source)
    answer = ask(settings, contract, rows)
    console = terminal(as_json=as_json)
    if as_json:
        write_object(answer)
        return
    for prediction in answer["predictions"]:
        console.print(describe(prediction), markup=False)
    model = answer.get("model", {})
    console.print(
        f"release {model.get('release')}, request {answer.get('request_id')}", style="dim", markup=False
    )


def read_rows(source: str) -> list[Any]:
    """Return the rows in a JSON file: an object, a list of objects, or a whole request's body.

    Raises:
        UserError: the file cannot be read, or is not JSON of that form.
    """
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as err:
        raise UserError(
            f"{name}: cannot be read: {err.strerror}. Give a file of JSON, or - to pipe it in."
        ) from err
    except ValueError as err:
        raise UserError(f"{name}: not JSON: {err}") from err
    if isinstance(content, dict) and set(content) == {"instances"}:
        content = content["instances"]
    rows = content if isinstance(content, list) else [content]
    wrong = [type(row).__name__ for row in rows if not isinstance(row, dict)]
    if wrong or not rows:
        got = wrong[0] if wrong else "an empty list"
        raise UserError(f"{name}: a row is an object of column names and values; got {got}")
    return rows
