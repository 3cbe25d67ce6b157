"""``hedonic trace``: from an answer back to rows, study, code and commit, each digest computed again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hedonic.answer import describe
from hedonic.cli.console import DebugOption, JsonOption, print_checks, terminal, write_object
from hedonic.served_settings import read_log_settings
from hedonic.settings import load_settings

if TYPE_CHECKING:
    from hedonic.provenance.answers import TracedAnswer
    from hedonic.provenance.trace import ReleaseTrace

PROBLEM = 1
_SHOWN = 5


def trace(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="As in the answer.")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what an answer was made of, and whether all of it still holds; exit 1 where not."""
    from hedonic.provenance.trace import trace_request

    settings = load_settings()
    console = terminal(as_json=as_json)
    with console.status("computing every digest again"):
        found = trace_request(settings, read_log_settings(), request_id)
    for answer in found.answers:
        _show_answer(console, answer)
    for release in found.releases:
        _show_release(console, release)
    for problem in found.problems:
        console.print(problem, style="red", markup=False)
    if as_json:
        write_object({**found.model_dump(mode="json"), "problems": found.problems})
    if found.problems:
        raise typer.Exit(PROBLEM)


def _show_answer(console: Console, answer: TracedAnswer) -> None:
    role = "answered" if answer.role == "served" else "answered in the shadow, for nobody,"
    console.print(
        f"[bold]{answer.dataset}[/] {role} {answer.route} at {answer.at:%Y-%m-%d %H:%M:%S} UTC by release "
        f"{answer.release}"
    )
    for row in answer.rows[:_SHOWN]:
        console.print(f"row {row.row}: {json.dumps(row.inputs)}", markup=False, style="dim")
        console.print(describe(row.answer), markup=False)
    if answer.n_rows > _SHOWN:
        console.print(f"and {answer.n_rows - _SHOWN:,} rows more: --json has the first hundred")
    if answer.n_equal is None:
        console.print(f"not computed again: {answer.problem}", style="yellow", markup=False)
    elif answer.equal:
        console.print(f"computed again: {answer.n_rows:,} of {answer.n_rows:,} rows equal, bit for bit")


def _show_release(console: Console, release: ReleaseTrace) -> None:
    made = f"made {release.made_at} by {release.made_by}" if release.made_at else "who made it is not known"
    promoted = f"promoted {release.promoted_at}" if release.promoted_at else "never promoted"
    dirty = ", [yellow]from a tree with uncommitted changes[/]" if release.dirty else ""
    console.print(f"\nrelease {release.release}: {made}, {promoted}{dirty}")
    print_checks(console, release.checks)
    console.print("\nwhat is around it now, which may have moved on:")
    print_checks(console, release.surroundings)
