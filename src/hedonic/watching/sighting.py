"""Sightings: what was last seen of a data set or of the code, kept so that each content is told once."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, Self, TypeVar

from pydantic import AwareDatetime, ValidationError

from hedonic.data.contract import Frozen, Name
from hedonic.data.snapshot import Snapshot
from hedonic.durable_file import write_durably
from hedonic.watching.event import Emit, Event, EventName

logger = logging.getLogger(__name__)


class Sighting(Frozen):
    """What was last seen, the events about it that wait to be delivered, and the last that was."""

    format_version: Literal[1] = 1
    announcing: tuple[Event, ...] = ()
    announced: Event | None = None

    def to_announce(self, event: Event) -> Self:
        """Return the sighting with an event to be delivered; of two of one name the later counts."""
        return self.model_copy(update={"announcing": (*self.without(event.name).announcing, event)})

    def without(self, name: EventName) -> Self:
        """Return the sighting with no event of that name to be delivered."""
        waiting = tuple(other for other in self.announcing if other.name != name)
        return self.model_copy(update={"announcing": waiting})

    def delivered(self, event: Event) -> Self:
        """Return the sighting after the event was delivered."""
        waiting = tuple(other for other in self.announcing if other.id != event.id)
        return self.model_copy(update={"announcing": waiting, "announced": event})


class Trouble(Frozen):
    """A source that could not be taken as it is.

    Attributes:
        fingerprint: of the source as it was then.
        since: when it was first seen so.
        told: whether the patience with it is over, and it was told.
        content: the sha256 of what was read and is no such table; None where it could not even be read.
    """

    fingerprint: str | None
    since: AwareDatetime
    problem: str
    told: bool = False
    content: str | None = None


class DatasetSighting(Sighting):
    """What was last seen of a data set.

    Attributes:
        fingerprint: of the source whose content is ``snapshot``.
        seen: digests of every snapshot that was ever seen here; none of them is news.
        refused: digests of the files that could not be read and were told.
    """

    dataset: Name
    fingerprint: str | None = None
    snapshot: Snapshot | None = None
    seen: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    trouble: Trouble | None = None


class CodeSighting(Sighting):
    """The commit that was last seen checked out, and what its features and models mean."""

    commit: str | None = None
    digest: str | None = None


S = TypeVar("S", bound=Sighting)


class SightingFile(Generic[S]):
    """``$HEDONIC_HOME/watch/<what>.json``, written durably, by one process at a time."""

    def __init__(self, path: Path, kind: type[S]) -> None:
        """Name the file; it need not be there."""
        self.path = path
        self._kind = kind

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other watchers away from what this file is about."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> S | None:
        """Return what was last seen; None when nothing was, or the file says nothing that we understand.

        Then the history still knows which contents were judged, so that none is trained on twice.
        """
        try:
            return self._kind.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            logger.warning("%s: not a sighting; looking afresh", self.path)
            return None

    def write(self, sighting: S) -> None:
        """Record what was seen."""
        write_durably(self.path, sighting.model_dump_json(indent=1) + "\n")

    def deliver(self, sighting: S, emit: Emit) -> S:
        """Return the sighting once every waiting event is delivered, each recorded as it is.

        Raises:
            NotDelivered: an event did not arrive: it and those after it keep waiting.
        """
        for event in sighting.announcing:
            emit(event)
            sighting = sighting.delivered(event)
            self.write(sighting)
        return sighting


def dataset_file(home: Path, dataset: str) -> SightingFile[DatasetSighting]:
    """Return the file about a data set."""
    return SightingFile(home / "watch" / f"{dataset}.json", DatasetSighting)


def code_file(home: Path) -> SightingFile[CodeSighting]:
    """Return the file about the code; no data set has a dash in its name."""
    return SightingFile(home / "watch" / "checked-out.json", CodeSighting)
