"""The origin of a release: its bytes, wherever they are kept, and what was written down about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from hedonic.data.contract import Contract, parse_contract
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import (
    CONTRACT,
    MANIFEST,
    Manifest,
    ReleaseRecord,
    read_manifest,
    read_record,
)
from hedonic.model.plain_files import UNREADABLE
from hedonic.promotion.record import CROWNING, JUDGED, Record
from hedonic.serving.release_copy import copies_folder, fetch
from hedonic.serving.source import BAKED, MODEL_PREFIX
from hedonic.settings import Settings


@dataclass(frozen=True)
class Origin:
    """What is known of a release.

    Attributes:
        folder: its bytes; None where they are nowhere to be found.
        history: every record of the data set, oldest first.
    """

    settings: Settings
    dataset: str
    release: str
    folder: Path | None
    history: tuple[Record, ...]

    @classmethod
    def find(cls, settings: Settings, dataset: str, release: str, history: Sequence[Record]) -> Self:
        """Return what is known of a release; that nothing is known is no error."""
        folder = next(_places(settings, dataset, release), None)
        return cls(settings, dataset, release, folder, tuple(history))

    @cached_property
    def manifest(self) -> Manifest | None:
        """Return what it was made from; None where its manifest is gone or is not what it was."""
        try:
            manifest = read_manifest(self.folder) if self.folder else None
        except ReleaseRefused:
            return None
        return manifest if manifest and manifest.digest == self.release else None

    @cached_property
    def record(self) -> ReleaseRecord | None:
        """Return who made it, when and in which run; None where nobody wrote it, or it cannot be read."""
        try:
            return read_record(self.folder) if self.folder else None
        except ReleaseRefused:
            return None

    @cached_property
    def contract(self) -> Contract | None:
        """Return the contract that it carries; None where that cannot be read."""
        try:
            return parse_contract((self.folder / CONTRACT).read_text("utf-8")) if self.folder else None
        except UNREADABLE:
            return None

    @cached_property
    def crowning(self) -> Record | None:
        """Return the record that first made it champion; None where it never was."""
        return next((r for r in self.history if r.release == self.release and r.kind in CROWNING), None)

    @cached_property
    def bento(self) -> str | None:
        """Return the tag of its bento; of a release that was never champion, that of its verdict's record."""
        if self.crowning is not None:
            return self.crowning.bento
        return next((r.bento for r in self.history if r.release == self.release and r.kind in JUDGED), None)

    def collected(self, digest: str) -> Record | None:
        """Return the record that says that what has this digest was let go."""
        gone = (r for r in self.history if r.kind == "collected")
        return next((r for r in gone if digest in (r.release, r.snapshot, r.candidate)), None)


def _places(settings: Settings, dataset: str, release: str) -> Iterator[Path]:
    """Yield the folders in which the release's bytes are, those of the release store first."""
    bentos = settings.bentos / "bentos" / f"{MODEL_PREFIX}{dataset}"
    here = [settings.releases / dataset / release, copies_folder(settings.home) / release]
    here += sorted(bentos.glob(f"*/src/{BAKED}/{release}"))
    yield from (folder for folder in here if (folder / MANIFEST).is_file())
    if settings.store_url is None:
        return
    url = f"{settings.store_url.rstrip('/')}/{dataset}/{release}"
    scheme = urlsplit(url).scheme
    if scheme in ("", "file"):
        folder = Path(unquote(urlsplit(url).path) if scheme else url)
        if (folder / MANIFEST).is_file():
            yield folder
        return
    try:
        fetch(url, release, copies_folder(settings.home) / release)
    except HedonicError:
        return
    yield copies_folder(settings.home) / release
