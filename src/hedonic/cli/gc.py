"""``hedonic gc``: what nothing needs any more, told, and taken away where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.custody.claim import Retention
from hedonic.custody.collection import Decision, Plan, make_plans
from hedonic.custody.custody_lock import looking
from hedonic.custody.sweep import sweep
from hedonic.errors import HedonicError
from hedonic.lineage import actor
from hedonic.served_settings import read_log_settings
from hedonic.settings import load_settings


def gc(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every one that is kept.")
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Releases that were champion, the champion among them.")
    ] = 5,
    days: Annotated[
        float, typer.Option(min=0, help="What was champion or written within so many days.")
    ] = 30.0,
    apply: Annotated[bool, typer.Option("--apply", help="Take it away; otherwise it is only told.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what nothing needs any more and why the rest stays; with --apply, take it away."""
    settings, log = load_settings(), read_log_settings()
    retention, console = Retention(keep, days), terminal(as_json=as_json)
    if not settings.home.is_dir():
        console.print(f"{settings.home}: nothing is kept yet", markup=False)
        return
    if not apply:
        with looking(settings.home):
            plans = make_plans(settings, log, retention, dataset)
        _show(console, plans)
        console.print("this was a dry run: nothing was taken away; --apply does", style="dim")
        if as_json:
            write_object({"applied": False, "decisions": [_told(d) for d in _decisions(plans)]})
        return
    swept = sweep(
        settings, log, retention, dataset,
        actor=actor(), reason=f"hedonic gc --keep {keep} --days {days:g}",
        tell=lambda gone: console.print(f"gone: {gone.kind} {gone.dataset or ''} {gone.name}", markup=False),
    )  # fmt: skip
    for name, process in swept.in_training.items():
        console.print(f"{name} is in training by process {process}: left alone", style="yellow")
    console.print(f"{len(swept.gone):,} things are gone", markup=False)
    if as_json:
        decided = [_told(decision) for decision in _decisions(swept.plans)]
        write_object({"applied": True, "decisions": decided, "in_training": swept.in_training})
    if swept.in_training:
        raise HedonicError(
            f"{', '.join(swept.in_training)}: in training, so nothing of it was taken away. "
            "Run the command again when that is over."
        )


def _decisions(plans: Iterable[Plan]) -> list[Decision]:
    return [decision for plan in plans for decision in plan.decisions]


def _show(console: Console, plans: Iterable[Plan]) -> None:
    """Print what goes, and of what stays why."""
    decisions = _decisions(plans)
    table = Table("", "what", "data set", "name", "MB", "why", box=None, pad_edge=False)
    for decision in sorted(decisions, key=lambda decision: decision.goes):
        held = decision.holding
        table.add_row(
            "[red]goes[/]" if decision.goes else "stays", held.kind, held.dataset or "", held.name[:16],
            f"{held.n_bytes / 1e6:,.1f}", decision.why,
        )  # fmt: skip
    console.print(table)
    going = [decision.holding for decision in decisions if decision.goes]
    console.print(
        f"{len(going):,} of {len(decisions):,} things go, {sum(h.n_bytes for h in going) / 1e6:,.1f} MB",
        markup=False,
    )


def _told(decision: Decision) -> dict[str, object]:
    held = decision.holding
    return {
        "kind": held.kind, "dataset": held.dataset, "name": held.name, "path": str(held.path),
        "goes": decision.goes, "why": decision.why,
    }  # fmt: skip
