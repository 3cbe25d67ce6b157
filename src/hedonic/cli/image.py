"""``hedonic image``: the images of champions and of the factory's own parts: built, listed, pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.cli.status import read_champions
from hedonic.errors import UserError
from hedonic.settings import Settings, load_settings

if TYPE_CHECKING:
    from hedonic.images.book import BuiltImage
    from hedonic.images.engine import Engine


def image(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A data set, for its champion; or a recipe in deployments/images."
        ),
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="REGISTRY/NAME", help="Push it there; its digest is written down.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build an image, with its bill of materials; without a name, list what was built."""
    from hedonic.images.book import ImageBook
    from hedonic.images.engine import Engine
    from hedonic.images.pushing import push_image

    settings, console = load_settings(), terminal(as_json=as_json)
    if name is None and push is not None:
        raise UserError("--push: which image? hedonic image NAME --push REGISTRY/NAME")
    if name is None:
        built = list(ImageBook(settings).all())
    else:
        engine = Engine.open()
        with console.status(f"building the image of {name}"):
            built = [_build(settings, engine, name)]
        if push is not None:
            with console.status(f"pushing to {push}"):
                built = [push_image(settings, engine, built[0], push)]
    _show(console, settings, built)
    if as_json:
        write_object({"images": built})


def _build(settings: Settings, engine: Engine, name: str) -> BuiltImage:
    from hedonic.images.building import build_named_image, build_release_image

    if not (settings.expectations / f"{name}.yaml").is_file():
        return build_named_image(settings, engine, name)
    champion = read_champions(settings, [name])[name]
    if champion is None or champion.release is None or champion.bento is None:
        raise UserError(f"{name}: no champion yet, so there is no image of it. hedonic run {name}")
    return build_release_image(settings, engine, champion.bento, settings.releases / name / champion.release)


def _show(console: Console, settings: Settings, built: list[BuiltImage]) -> None:
    from hedonic.images.book import ImageBook

    if not built:
        console.print("no image yet. Build one with: hedonic image DATASET", markup=False)
        return
    table = Table("image", "MB", "release", "bill of materials", box=None, pad_edge=False)
    for one in built:
        bill = ImageBook(settings).bill(one.name)
        where = bill.relative_to(settings.root) if bill.is_relative_to(settings.root) else bill
        table.add_row(one.name, f"{one.size / 1e6:.0f}", (one.release or "")[:12], str(where))
    console.print(table)
    for one in built:
        for reference, digest in one.pushed.items():
            console.print(f"pushed: {reference}@{digest}", markup=False)
