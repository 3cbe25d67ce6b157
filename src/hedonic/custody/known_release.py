"""The known release: what the history says of one, from its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hedonic.promotion.record import Record


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """A release that the history names.

    Attributes:
        records: that name it, oldest first, but attempts that failed.
        reigned_until: when another became champion in its place, the last time that it was; None for the
            champion and for one that never was.
    """

    dataset: str
    digest: str
    records: tuple[Record, ...]
    reigned_until: datetime | None = None

    @property
    def last(self) -> Record:
        """Return the last record that names it."""
        return self.records[-1]

    @property
    def crowned(self) -> Record | None:
        """Return the last record that made it champion; None when it never was."""
        return next((record for record in reversed(self.records) if record.crowns), None)

    @property
    def collected(self) -> Record | None:
        """Return the record that says that it was collected; None while it is to be there."""
        return self.last if self.last.kind == "collected" else None

    @property
    def settled(self) -> datetime:
        """Return when it came to what it is now: left the throne, or was last recorded."""
        at = datetime.fromisoformat(self.last.at)
        return max(at, self.reigned_until) if self.reigned_until is not None else at

    @property
    def bento(self) -> str | None:
        """Return the tag of the bento that it was last released in."""
        return next((record.bento for record in reversed(self.records) if record.bento), None)


def known_releases(records: Iterable[Record]) -> dict[str, KnownRelease]:
    """Return the releases that the records of one data set, oldest first, name; by digest."""
    known: dict[str, KnownRelease] = {}
    champion: str | None = None
    for record in records:
        if record.release is None or record.kind == "failed":
            continue
        before = known.get(record.release)
        named = (*before.records, record) if before else (record,)
        until = before.reigned_until if before else None
        known[record.release] = KnownRelease(record.dataset, record.release, named, until)
        if not record.crowns:
            continue
        if champion not in (None, record.release):
            known[champion] = replace(known[champion], reigned_until=datetime.fromisoformat(record.at))
        champion = record.release
        known[champion] = replace(known[champion], reigned_until=None)
    return known
