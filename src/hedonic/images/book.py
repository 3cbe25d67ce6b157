"""The book of images: what was built of which release, its bill of materials, and where it was pushed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from hedonic.data.contract import Frozen
from hedonic.durable_file import write_durably
from hedonic.images.engine import Image
from hedonic.settings import Settings


class BuiltImage(Frozen):
    """An image that was built here.

    Attributes:
        name: with its tag.
        id: sha256 of its configuration, as the engine knows it.
        size: in bytes.
        pushed: the digest that a registry gave it, by its name there.
    """

    name: str
    id: str
    size: int
    labels: dict[str, str]
    pushed: dict[str, str] = Field(default_factory=dict)

    @property
    def release(self) -> str | None:
        """Return the digest of the release in it; None for an image that holds none."""
        return self.labels.get("hedonic.release")


class ImageBook:
    """The images of one HEDONIC_HOME: ``images/<name>/<tag>.json`` and ``<tag>.cdx.json``."""

    def __init__(self, settings: Settings) -> None:
        """Open the book; it need not exist yet."""
        self._folder = settings.home / "images"

    def write(self, image: Image, bill: str) -> BuiltImage:
        """Return what was written down of an image; where it was pushed before stays."""
        known = self.read(image.name)
        pushed = known.pushed if known and known.id == image.id else {}
        built = BuiltImage(
            name=image.name, id=image.id, size=image.size, labels=dict(image.labels), pushed=pushed
        )
        write_durably(self.bill(image.name), bill)
        self._keep(built)
        return built

    def pushed(self, built: BuiltImage, reference: str, digest: str) -> BuiltImage:
        """Return the image with one more place where it is."""
        more = built.model_copy(update={"pushed": {**built.pushed, reference: digest}})
        self._keep(more)
        return more

    def read(self, name: str) -> BuiltImage | None:
        """Return what is known of an image by its name; None when nothing is."""
        return _read(self._file(name, ".json"))

    def all(self) -> tuple[BuiltImage, ...]:
        """Return every image, the last built first."""
        paths = [path for path in self._folder.glob("*/*.json") if not path.name.endswith(".cdx.json")]
        paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return tuple(found for path in paths if (found := _read(path)))

    def bill(self, name: str) -> Path:
        """Return the bill of materials of an image, in CycloneDX."""
        return self._file(name, ".cdx.json")

    def _keep(self, built: BuiltImage) -> None:
        write_durably(self._file(built.name, ".json"), built.model_dump_json(indent=1) + "\n")

    def _file(self, name: str, suffix: str) -> Path:
        repository, _, tag = name.partition(":")
        return self._folder / repository / f"{tag}{suffix}"


def _read(path: Path) -> BuiltImage | None:
    try:
        return BuiltImage.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
