"""``hedonic verify``: whether all that is kept is what the history and the digests say."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.custody.custody_lock import looking
from hedonic.custody.inspection import Inspected, inspect
from hedonic.custody.release_name import find_release
from hedonic.errors import UserError
from hedonic.settings import load_settings

_COLOURS = {"ok": "green", "wrong": "red", "collected": "blue", "unrecorded": "yellow"}


def verify(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every one that is kept.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="This release alone; the beginning will do.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="N", help="The release of this model version alone.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Verify the history's chain, releases, bentos and snapshots; exit 1 and name what is wrong."""
    settings = load_settings()
    if release is not None and version is not None:
        raise UserError("--release and --version were both given. Give one of them.")
    only = None
    if release is not None or version is not None:
        name = find_release(settings, dataset, digest=release, version=version)
        dataset, only = name.dataset, name.digest
    console, seen = terminal(as_json=as_json), list[Inspected]()
    with looking(settings.home):
        for each in inspect(settings, dataset, only):
            seen.append(each)
            what = f"{each.kind} {each.dataset or ''} {each.name}".replace("  ", " ")
            console.print(f"[{_COLOURS[each.state]}]{each.state:<10}[/] {escape(what)}: {escape(each.told)}")
    counts = Counter(each.state for each in seen)
    console.print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())), markup=False)
    if as_json:
        write_object({"ok": not counts["wrong"], "counts": counts, "seen": seen})
    if counts["wrong"]:
        raise typer.Exit(1)
