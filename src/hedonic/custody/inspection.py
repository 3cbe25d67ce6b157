"""The inspection: all that is kept, against the history and the digests that name it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import make_url

from hedonic.custody.known_release import KnownRelease, known_releases
from hedonic.data.snapshot_content import verify_snapshot
from hedonic.errors import HedonicError
from hedonic.model.manifest import RECORD, read_manifest
from hedonic.promotion.bento import stored_bento
from hedonic.promotion.built_bento import verify_bento
from hedonic.promotion.history import is_begun, open_history
from hedonic.promotion.pointer import pointer_path, read_pointer
from hedonic.promotion.record import Record
from hedonic.promotion.recorded_bento import bento_files
from hedonic.serving.predictor import load_release
from hedonic.settings import Settings

Kind = Literal["history", "release", "bento", "snapshot", "pointer"]
State = Literal["ok", "wrong", "collected", "unrecorded"]


@dataclass(frozen=True, slots=True)
class Inspected:
    """One thing that was looked at.

    Attributes:
        name: its digest or tag, whole.
        state: ``collected``: it was taken away, and the history says so; ``unrecorded``: it is whole, and
            the history does not name it.
        told: what was seen; of what is wrong, every file and digest.
    """

    kind: Kind
    dataset: str | None
    name: str
    state: State
    told: str


def inspect(
    settings: Settings, dataset: str | None = None, release: str | None = None
) -> Iterator[Inspected]:
    """Yield each thing as it was looked at: the history first, then what it names, then what else is there.

    Args:
        settings: name the places.
        dataset: of this one alone, and of the history all the same.
        release: this one alone, with its bento and its snapshot.
    """
    records: tuple[Record, ...] = ()
    for seen in _history(settings):
        if isinstance(seen, Inspected):
            yield seen
        else:
            records = seen
    found = {path.name for place in _places(settings) for path in _folders(place)}
    for name in sorted({record.dataset for record in records} | found) if dataset is None else [dataset]:
        yield from _dataset(settings, name, tuple(r for r in records if r.dataset == name), release)


def _history(settings: Settings) -> Iterator[Inspected | tuple[Record, ...]]:
    """Yield what is wrong with the history, or that it is whole; and its records, where they can be read."""
    where = make_url(settings.history).render_as_string(hide_password=True)
    if not is_begun(settings):
        yield Inspected("history", None, where, "ok", "not begun yet")
        return
    try:
        history = open_history(settings)
        try:
            problems, head = history.verify_chain(), history.head()
            for problem in problems:
                yield Inspected("history", None, where, "wrong", f"{problem}. Restore it from a backup.")
            if not problems:
                told = f"{head.seq:,} records, chain whole, head {head.hash}" if head else "empty"
                yield Inspected("history", None, where, "ok", told)
            yield history.records()
        finally:
            history.close()
    except HedonicError as err:
        yield Inspected("history", None, where, "wrong", str(err))


def _dataset(
    settings: Settings, dataset: str, records: tuple[Record, ...], only: str | None
) -> Iterator[Inspected]:
    known = known_releases(records)
    there = {path.name for path in _folders(settings.releases / dataset)}
    wanted = sorted(known.keys() | there) if only is None else [only]
    snapshots: set[str] = set()
    for digest in wanted:
        yield inspect_release(settings.releases / dataset / digest, known.get(digest))
        if digest not in known or not known[digest].collected:
            snapshots |= _snapshots(settings.releases / dataset / digest, known.get(digest))
    yield from _bentos(settings, dataset, known, bento_files(records), only)
    home = settings.snapshots / dataset
    if only is None:
        snapshots |= {path.name for path in _folders(home)}
    for digest in sorted(snapshots):
        yield _snapshot(home / digest)
    if only is None and (records or pointer_path(settings.home, dataset).exists()):
        yield _pointer(settings, dataset, known)


def inspect_release(folder: Path, known: KnownRelease | None) -> Inspected:
    """Return what is seen of a release: every file's digest, and every golden row asked again.

    Args:
        folder: where it is, if it is there.
        known: what the history says of it; None where the history does not name it.
    """
    dataset, digest = folder.parent.name, folder.name
    if known is not None and known.collected is not None:
        told = f"collected {known.collected.at} by {known.collected.actor}: {known.collected.reason}"
        rest = (
            "; its folder is still there, the next `hedonic gc --apply` removes it" if folder.exists() else ""
        )
        return Inspected("release", dataset, digest, "collected", told + rest)
    if not folder.exists():
        told = f"missing: {folder} is gone. Restore it from a backup."
        return Inspected("release", dataset, digest, "wrong", told)
    try:
        release = load_release(folder, digest)
    except HedonicError as err:
        return Inspected("release", dataset, digest, "wrong", str(err))
    if release.predictor.contract.name != dataset:
        told = f"is of {release.predictor.contract.name}, in the folder of {dataset}"
        return Inspected("release", dataset, digest, "wrong", told)
    if release.record is not None and release.record.release != digest:
        told = f"{RECORD}: is about {release.record.release}. Restore it from a backup."
        return Inspected("release", dataset, digest, "wrong", told)
    told = "every file as its manifest says, every golden row answered"
    if known is None:
        return Inspected("release", dataset, digest, "unrecorded", f"{told}; the history does not name it")
    return Inspected("release", dataset, digest, "ok", told)


def _snapshots(folder: Path, known: KnownRelease | None) -> set[str]:
    """Return the digests of the snapshots that a release was made from."""
    found = {record.snapshot for record in known.records if record.snapshot} if known is not None else set()
    if known is not None:
        with contextlib.suppress(HedonicError):  # told with the release
            found.add(read_manifest(folder).snapshot)
    return found


def _bentos(
    settings: Settings,
    dataset: str,
    known: dict[str, KnownRelease],
    files: dict[str, str],
    only: str | None,
) -> Iterator[Inspected]:
    store = settings.bentos
    owned = {
        release.bento: release.digest
        for release in known.values()
        if release.bento and not release.collected and only in (None, release.digest)
    }
    place = store / "bentos" / f"hedonic-{dataset}"
    there = {f"{place.name}:{path.name}" for path in _folders(place)}
    for tag in sorted(owned.keys() | there):
        seen = _bento(store, dataset, tag, known, files.get(tag))
        if only is None or tag in owned:
            yield seen


def _bento(
    store: Path, dataset: str, tag: str, known: dict[str, KnownRelease], files: str | None
) -> Inspected:
    try:
        bento = verify_bento(stored_bento(store, tag), files)
    except HedonicError as err:
        return Inspected("bento", dataset, tag, "wrong", str(err))
    release = known.get(bento.release)
    if release is None or release.crowned is None:
        told = (
            f"holds release {bento.release}, which the history never promoted: built by hand, or by a run "
            "that did not end with a promotion. It is refused where it is served; `hedonic gc` takes it away"
        )
        return Inspected("bento", dataset, tag, "unrecorded", told)
    if tag not in {record.bento for record in release.records}:
        told = f"whole, with release {bento.release}; the history does not name it"
        return Inspected("bento", dataset, tag, "unrecorded", told)
    told = f"digest and files as recorded, with release {bento.release}"
    if not bento.is_listed or files is None:
        told = f"sources, lock and release as its tag says, with release {bento.release}"
    return Inspected("bento", dataset, tag, "ok", told)


def _snapshot(folder: Path) -> Inspected:
    dataset, digest = folder.parent.name, folder.name
    if not folder.exists():
        told = f"missing: {folder} is gone. Restore it from a backup."
        return Inspected("snapshot", dataset, digest, "wrong", told)
    try:
        snapshot = verify_snapshot(folder)
    except HedonicError as err:
        return Inspected("snapshot", dataset, digest, "wrong", str(err))
    return Inspected(
        "snapshot", dataset, digest, "ok", f"{snapshot.n_rows:,} rows, content as its digest says"
    )


def _pointer(settings: Settings, dataset: str, known: dict[str, KnownRelease]) -> Inspected:
    """Return whether the endpoint is told to serve the champion."""
    champion = max(
        (release for release in known.values() if release.crowned and release.reigned_until is None),
        key=lambda release: release.crowned.seq if release.crowned else 0,
        default=None,
    )
    pointer = read_pointer(settings.home, dataset)
    said, wanted = pointer.release if pointer else None, champion.digest if champion else None
    if said == wanted and (pointer or not pointer_path(settings.home, dataset).exists()):
        return Inspected("pointer", dataset, said or "none", "ok", "names the champion of the history")
    told = f"the champion is {wanted or 'none'}: `hedonic serve {dataset}` repairs it"
    return Inspected("pointer", dataset, said or "none", "wrong", told)


def _places(settings: Settings) -> tuple[Path, ...]:
    return settings.releases, settings.snapshots


def _folders(place: Path) -> Iterator[Path]:
    """Yield what is in a folder but what is being written or taken away (a hidden name)."""
    if place.is_dir():
        yield from (
            path for path in sorted(place.iterdir()) if path.is_dir() and not path.name.startswith(".")
        )
