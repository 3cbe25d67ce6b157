"""``hedonic doctor``: what is wrong with this installation, each problem with its fix."""

from __future__ import annotations

import typer
from rich.markup import escape

from hedonic.cli.checkup import check_all
from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.settings import load_settings


def doctor(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Check versions, ports, disk and stores; exit 1 if anything is wrong."""
    checks = check_all(load_settings())
    console = terminal(as_json=as_json)
    for check in checks:
        console.print(
            "[green]ok[/]     " if check.ok else "[red]problem[/]", escape(f"{check.name}: {check.seen}")
        )
        if not check.ok:
            console.print(f"        fix: {check.fix}", markup=False)
    if as_json:
        write_object({"checks": checks})
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
