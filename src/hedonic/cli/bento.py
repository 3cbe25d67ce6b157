"""``hedonic bento``: the bento of a promoted release, built by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.custody.hand_build import build_by_hand
from hedonic.custody.release_name import find_release
from hedonic.settings import load_settings


def bento(
    dataset: DatasetArgument = "king_county",
    release: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Of this release; default: the champion.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build the bento of a release that was promoted, by the code as it is now; refused of any other."""
    settings, console = load_settings(), terminal(as_json=as_json)
    digest = find_release(settings, dataset, digest=release).digest if release is not None else None
    with console.status("building"):
        built = build_by_hand(settings, dataset, digest)
    console.print(f"{built.tag} in {built.folder}", markup=False)
    if as_json:
        write_object({"bento": built.tag, "digest": built.digest, "folder": str(built.folder)})
