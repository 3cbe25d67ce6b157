"""The terminal: what people read, and the one JSON object that machines read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from hedonic.provenance.check import Check

DatasetArgument = Annotated[str, typer.Argument(metavar="[DATA SET]", help="A contract in expectations/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on the last line, for machines.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Tracebacks, and all that the tools log.")]


def terminal(*, as_json: bool) -> Console:
    """Return where people read: standard output, or standard error when machines read that."""
    return Console(stderr=as_json, highlight=False, soft_wrap=True)


def write_object(value: object) -> None:
    """Write a value as one line of JSON on standard output; what is not a finite number is null."""
    sys.stdout.write(to_json(value, inf_nan_mode="null", fallback=str).decode() + "\n")
    sys.stdout.flush()


def figures_table(figures: Mapping[str, Any]) -> Table:
    """Return a table of metrics by name."""
    table = Table("figure", "value", box=None, pad_edge=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}" if isinstance(value, int | float) else str(value))
    return table


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print what was written down and what became of it: a line each, so that no digest is cut."""
    width = max(len(check.what) for check in checks)
    for check in checks:
        told = check.told
        if check.status == "differs" and check.found and not told:
            told = f"now {check.found}"
        line = f"{check.status:<9}  {check.what:<{width}}  {check.recorded or 'not recorded'}"
        console.print(line, style=_COLOURS[check.status], markup=False)
        if told:
            console.print(f"{'':<{width + 13}}{told}", style="dim", markup=False)


_COLOURS = {"verified": "", "differs": "red", "missing": "yellow", "collected": "blue", "unchecked": "dim"}


def written_table(written: Mapping[str, str], root: Path) -> Table:
    """Return a table of what was written where; places inside the project are told relative to it."""
    table = Table("written", "where", box=None, pad_edge=False)
    for what, where in written.items():
        inside = Path(where).is_absolute() and Path(where).is_relative_to(root)
        table.add_row(what, str(Path(where).relative_to(root)) if inside else where)
    return table
