"""The pushing of an image to a registry; the digest it has there is written down beside the release."""

from __future__ import annotations

from pathlib import Path

from hedonic.errors import UserError
from hedonic.images.book import BuiltImage, ImageBook
from hedonic.images.engine import Engine
from hedonic.model.manifest import read_record
from hedonic.promotion.release import write_record
from hedonic.settings import Settings


def push_image(settings: Settings, engine: Engine, built: BuiltImage, repository: str) -> BuiltImage:
    """Return the image as the book has it after the push; a release's record tells of it too.

    Args:
        settings: say where the book and the releases are.
        engine: pushes, by what its own `docker login` knows of the registry.
        built: what to push.
        repository: ``registry[:port]/name``; the tag is the image's own.

    Raises:
        UserError: the repository has a tag, or names no registry.
        HedonicError: the registry did not take it.
    """
    host, _, name = repository.partition("/")
    if not name or ":" in name or "@" in name or not ({".", ":"} & set(host) or host == "localhost"):
        raise UserError(
            f"--push {repository}: give REGISTRY/NAME without a tag, such as ghcr.io/me/hedonic-king_county"
        )
    tag = built.name.partition(":")[2]
    digest = engine.push(built.name, repository, tag)
    if built.release is not None:
        folder = settings.releases / built.labels["hedonic.dataset"] / built.release
        _tell_record(folder, f"{repository}:{tag}", digest)
    return ImageBook(settings).pushed(built, f"{repository}:{tag}", digest)


def _tell_record(folder: Path, reference: str, digest: str) -> None:
    record = read_record(folder)
    if record is not None:
        images = {**record.images, reference: digest}
        write_record(folder, record.model_copy(update={"images": images}))
