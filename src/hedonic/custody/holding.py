"""The holding: one thing that is kept in HEDONIC_HOME and could be collected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hedonic.errors import HedonicError
from hedonic.model.manifest import read_manifest
from hedonic.settings import Settings

HoldingKind = Literal[
    "release", "bento", "candidate", "snapshot", "report", "step", "fetched", "debug", "scratch"
]  # fmt: skip

TAKEN = ".collecting-"
"""How what is being taken away is called meanwhile: whole, or not there for anybody who looks."""

SCRATCH = (
    TAKEN, ".writing-", ".candidate-", ".ingest-", ".publish-", ".publishing-", ".fetching-",
)  # fmt: skip
"""How the names begin of what is being written; a killed process leaves them behind."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A folder or file.

    Attributes:
        dataset: that it is of; None where it is of none or of one that nobody can tell.
        name: its digest, key or tag.
        written: when it was last written to.
    """

    kind: HoldingKind
    dataset: str | None
    name: str
    path: Path
    written: datetime

    @property
    def n_bytes(self) -> int:
        """Return the size of its files."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    def read(self) -> dict[str, Any]:
        """Return the object in a JSON file; an empty one where it holds something else."""
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def datasets_of(settings: Settings) -> frozenset[str]:
    """Return the data sets that something is kept of."""
    places = (settings.releases, settings.snapshots, settings.candidates, settings.home / "steps")
    names = {path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()}
    store = settings.bentos / "bentos"
    return frozenset(names | {path.name.removeprefix("hedonic-") for path in store.glob("hedonic-*")})


def holdings(settings: Settings, dataset: str | None = None) -> Iterator[Holding]:
    """Yield all that is kept, of one data set or of all; what is of none only with all."""
    home = settings.home
    for name in sorted(datasets_of(settings)) if dataset is None else [dataset]:
        yield from _folders("release", name, settings.releases / name)
        yield from _folders("bento", name, settings.bentos / "bentos" / f"hedonic-{name}")
        yield from _folders("candidate", name, settings.candidates / name)
        yield from _folders("snapshot", name, settings.snapshots / name)
        for path in sorted((home / "steps" / name).glob("*/*.json")):
            yield _holding("step", name, path, path.stem)
    for path in sorted([*settings.reports.glob("*.json"), *settings.validations.glob("*.json")]):
        report = _holding("report", None, path, path.stem)
        content = report.read()
        whose = content.get("dataset") or (content.get("snapshot") or {}).get("dataset")
        if dataset in (None, whose):
            yield _holding("report", whose, path, path.stem)
    for found in _folders("fetched", None, home / "fetched"):
        whose = _whose(found.path)
        if found.kind == "scratch" or dataset in (None, whose):
            yield _holding(found.kind, whose, found.path, found.name)
    if dataset is None:
        yield from _folders("debug", None, home / "debug")


def _folders(kind: HoldingKind, dataset: str | None, place: Path) -> Iterator[Holding]:
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        if path.name.startswith(SCRATCH):
            yield _holding("scratch", dataset, path, path.name)
        elif path.is_dir() and not path.name.startswith("."):
            yield _holding(kind, dataset, path, path.name)


def _holding(kind: HoldingKind, dataset: str | None, path: Path, name: str) -> Holding:
    return Holding(kind, dataset, name, path, datetime.fromtimestamp(path.lstat().st_mtime, UTC))


def _whose(folder: Path) -> str | None:
    """Return the data set of a fetched copy, by its manifest."""
    try:
        return read_manifest(folder).dataset
    except HedonicError:
        return None
