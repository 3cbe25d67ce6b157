"""A look at a source: has its content changed? Recorded before it is told, and told once."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime
from typing import Literal

from hedonic.data.contract import Contract, Frozen
from hedonic.data.difference import Difference, compare, open_snapshot
from hedonic.data.fingerprint import (
    content_digest,
    fingerprint,
    is_being_written,
    lacks_its_end,
    local_path,
)
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.source import resolve
from hedonic.errors import HedonicError, SourceError
from hedonic.promotion.history import History
from hedonic.promotion.record import JUDGED
from hedonic.settings import Settings
from hedonic.watching.event import Emit, Event, dataset_event
from hedonic.watching.sighting import DatasetSighting, SightingFile, Trouble, dataset_file

logger = logging.getLogger("hedonic.watch")

Outcome = Literal["unchanged", "changed", "known", "waiting", "unreadable"]


class Look(Frozen):
    """What a look at a source came to.

    Attributes:
        outcome: ``changed`` is new content, ``known`` is content that was seen or judged before,
            ``waiting`` a source to be looked at again soon, ``unreadable`` one that stays so.
        told: the outcome in a sentence.
        event: what was emitted, if anything.
    """

    dataset: str
    outcome: Outcome
    told: str
    event: Event | None = None


def look_at(settings: Settings, contract: Contract, emit: Emit) -> Look:
    """Return what a look at the source of a data set came to; new content is told through ``emit``.

    The content is recorded before it is told, with the event that tells it: a watcher that dies in
    between tells it at its next look, under the same id.

    Raises:
        NotDelivered: the event did not arrive; it is sent again at the next look.
        HedonicError: the snapshot store or the history cannot be used.
    """
    file = dataset_file(settings.home, contract.name)
    with file.alone():
        after, found = _look(settings, contract, file, telling=True)
        file.deliver(after, emit)
        return found


def take_note(settings: Settings, contract: Contract) -> Look:
    """Return what a look came to; new content is recorded as seen, and is told to nobody.

    For who has just asked for a training of what is there: it is no news to the watcher then.

    Raises:
        HedonicError: the snapshot store or the history cannot be used.
    """
    file = dataset_file(settings.home, contract.name)
    with file.alone():
        return _look(settings, contract, file, telling=False)[1]


def _look(
    settings: Settings, contract: Contract, file: SightingFile[DatasetSighting], *, telling: bool
) -> tuple[DatasetSighting, Look]:
    """Return what is now on record, with the events that are to be delivered, and what the look came to."""
    before = file.read() or DatasetSighting(dataset=contract.name)
    after, outcome, told = _Glance(settings, contract, before).take()
    if not telling:
        after = after.without("dataset.changed")
    if after != before:
        file.write(after)
        logger.log(logging.WARNING if outcome == "unreadable" else logging.INFO, "%s", told)
    event = after.announcing[-1] if after.announcing else None
    return after, Look(dataset=contract.name, outcome=outcome, told=told, event=event)


_Seen = tuple[DatasetSighting, Outcome, str]


class _Glance:
    """One look at one source: from what was seen before to what is seen now."""

    def __init__(self, settings: Settings, contract: Contract, before: DatasetSighting) -> None:
        self._settings, self._contract, self._before = settings, contract, before
        self._store = SnapshotStore(settings.snapshots)
        self._uri = resolve(contract.source.uri, settings.root)
        self._path = local_path(self._uri)
        self._mark = self._fingerprint()

    def take(self) -> _Seen:
        trouble = self._before.trouble
        waiting = trouble if trouble and trouble.fingerprint == self._mark else None
        if waiting is None and self._mark is not None and self._mark == self._before.fingerprint:
            return self._as_before()
        if self._path is not None and is_being_written(self._path, self._settings.watch.debounce_s):
            return self._before, "waiting", self._say("is being written; left alone")
        if waiting is not None and waiting.told and waiting.content and self._mark:
            return self._before, "unreadable", waiting.problem
        if waiting is not None and not waiting.told and self._age_s(waiting) < self._patience_s:
            return self._before, "waiting", waiting.problem
        if waiting is None and self._path is not None and lacks_its_end(self._path):
            return self._wait(self._say(f"does not end with a line's end; left alone {self._patience_s:g} s"))
        return self._read(waiting)

    def _fingerprint(self) -> str | None:
        # The contract's meaning is part of it: other columns make another snapshot of the same file.
        mark = fingerprint(self._uri)
        return None if mark is None else f"{self._contract.digest[:16]}:{mark}"

    def _as_before(self) -> _Seen:
        # A trouble that went away by itself, such as a file moved out and back, is over.
        return self._before.model_copy(update={"trouble": None}), "unchanged", self._say("is unchanged")

    def _read(self, waiting: Trouble | None) -> _Seen:
        try:
            snapshot = self._store.ingest(self._contract, self._settings.root)
        except SourceError as err:
            if self._fingerprint() != self._mark:
                return self._before, "waiting", self._say("changed while it was read; left alone")
            return self._wait(str(err)) if waiting is None else self._give_up(waiting, str(err))
        if self._fingerprint() != self._mark:
            return self._before, "waiting", self._say("changed while it was read; left alone")
        return self._seen(snapshot)

    def _seen(self, snapshot: Snapshot) -> _Seen:
        before, digest = self._before, snapshot.digest
        after = before.model_copy(
            update={"fingerprint": self._mark, "snapshot": snapshot, "trouble": None}
            | ({} if digest in before.seen else {"seen": (*before.seen, digest)})
        )
        if before.snapshot is not None and before.snapshot.digest == digest:
            return after, "unchanged", self._say("was written again with the same content")
        judged = self._judged()
        if digest in before.seen or digest in judged:
            return after, "known", self._say(f"holds snapshot {digest[:12]}, which is known")
        previous = before.snapshot
        if previous is None and judged:
            previous = open_snapshot(self._store, self._contract.name, judged[-1])
        event = self._change(previous, snapshot)
        return after.to_announce(event), "changed", self._say(f"changed: {event.payload['summary']}")

    def _judged(self) -> list[str]:
        """Return the digests of the snapshots on which there was a verdict, the latest last."""
        with closing(History(self._settings.history)) as history:
            records = history.records(self._contract.name)
        return [record.snapshot for record in records if record.kind in JUDGED and record.snapshot]

    def _change(self, previous: Snapshot | None, snapshot: Snapshot) -> Event:
        difference = self._difference(previous, snapshot)
        summary = difference.summary if difference else f"first seen, {snapshot.n_rows:,} rows"
        return dataset_event(
            "dataset.changed",
            self._contract.name,
            snapshot.digest,
            {
                "dataset": self._contract.name,
                "snapshot": snapshot.digest,
                "previous": previous.digest if previous else "",
                "n_rows": snapshot.n_rows,
                "n_rows_before": previous.n_rows if previous else 0,
                "added": difference.added if difference else snapshot.n_rows,
                "removed": difference.removed if difference else 0,
                "changed": difference.changed if difference else 0,
                "summary": summary,
                "reason": f"data changed: {summary}",
                "difference": difference.markdown if difference else "",
            },
        )

    def _difference(self, previous: Snapshot | None, snapshot: Snapshot) -> Difference | None:
        if previous is None:
            return None
        try:
            return compare(self._contract, self._store, previous, snapshot)
        except HedonicError as err:  # the earlier snapshot was deleted: news all the same
            logger.warning("%s", err)
            return None

    def _wait(self, problem: str) -> _Seen:
        trouble = Trouble(fingerprint=self._mark, since=datetime.now(UTC), problem=problem)
        return self._before.model_copy(update={"trouble": trouble}), "waiting", problem

    def _give_up(self, waiting: Trouble, problem: str) -> _Seen:
        digest = content_digest(self._uri)
        told = waiting.model_copy(update={"told": True, "problem": problem, "content": digest})
        after = self._before.model_copy(update={"trouble": told})
        if waiting.told if digest is None else digest in after.refused:
            return after, "unreadable", problem
        event = dataset_event(
            "dataset.unreadable",
            self._contract.name,
            digest or waiting.since.isoformat(),
            {"dataset": self._contract.name, "source": self._contract.source.uri, "problem": problem},
        )
        refused = after.refused if digest is None else (*after.refused, digest)
        return after.model_copy(update={"refused": refused}).to_announce(event), "unreadable", problem

    @property
    def _patience_s(self) -> float:
        return self._settings.watch.patience_s

    def _age_s(self, trouble: Trouble) -> float:
        return (datetime.now(UTC) - trouble.since).total_seconds()

    def _say(self, what: str) -> str:
        return f"{self._contract.name}: source {self._contract.source.uri} {what}"
