"""``hedonic backup`` and ``hedonic restore``: all that is kept in the embedded mode, in one archive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.custody.backup import back_up
from hedonic.custody.inspection import inspect
from hedonic.custody.restoration import restore as restore_home
from hedonic.served_settings import read_log_settings
from hedonic.settings import load_settings


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="An archive to be made, .tar.gz.")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write history, releases, bentos, MLflow, studies, snapshots and answers into one archive.

    Everything may go on running meanwhile.
    """
    console = terminal(as_json=as_json)
    with console.status("backing up"):
        path, manifest = back_up(load_settings(), read_log_settings(), target)
    size = path.stat().st_size
    console.print(f"{path}: {len(manifest.files):,} files, {size / 1e6:,.1f} MB", markup=False)
    for name, release in manifest.champions.items():
        console.print(f"champion of {name}: {release}", markup=False)
    for left in manifest.left_out:
        console.print(f"left out: {left}", style="yellow", markup=False)
    if as_json:
        told = manifest.model_dump(mode="json", exclude={"files"})
        write_object({"file": str(path), "bytes": size, "files": len(manifest.files), **told})


def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that `hedonic backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where something is kept already: it is moved aside.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring back what an archive holds, and verify it; exit 1 and name what is wrong, if anything is."""
    settings, console = load_settings(), terminal(as_json=as_json)
    with console.status("restoring"):
        restored = restore_home(settings, read_log_settings(), archive, force=force)
    if restored.replaced is not None:
        console.print(f"what was here before is in {restored.replaced}", markup=False)
    if restored.n_moved:
        console.print(f"MLflow: {restored.n_moved:,} places now in {settings.home}", markup=False)
    seen = list(inspect(settings))
    wrong = [each for each in seen if each.state == "wrong"]
    for each in wrong:
        console.print(f"wrong: {each.kind} {each.dataset or ''} {each.name}: {each.told}", markup=False)
    for name, release in restored.manifest.champions.items():
        console.print(f"champion of {name}: {release}", markup=False)
    counts = Counter(each.state for each in seen)
    console.print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())), markup=False)
    if as_json:
        write_object(
            {
                "champions": restored.manifest.champions,
                "replaced": restored.replaced,
                "ok": not wrong,
                "counts": counts,
                "wrong": wrong,
            }
        )
    if wrong:
        raise typer.Exit(1)
