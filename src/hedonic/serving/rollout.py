"""The roll-out: what a process serves now, and the next release in its place without a failed request."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hedonic.errors import ReleaseRefused
from hedonic.serving.predictor import Release
from hedonic.serving.source import Source

Outcome = Literal["swapped", "refused"]

_logger = logging.getLogger("hedonic.serving")


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded and verified release, and where it came from."""

    release: Release
    source: Source


@dataclass(frozen=True, slots=True)
class Refused:
    """A release that was to be served next and is not.

    Attributes:
        release: its digest; None where what names it cannot be read.
        reason: as the log has it.
        at: when, ISO 8601 in UTC.
    """

    release: str | None
    reason: str
    at: str


class Rollout:
    """The release of a process, and its successor.

    ``served`` is replaced whole, by one assignment: who read it once answers by that release to the end,
    and the old one's memory goes with the last such answer.
    """

    def __init__(
        self,
        load: Callable[[Source], Release],
        find: Callable[[], Source],
        count: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """Load what ``find`` names now.

        Args:
            load: gives the verified release of a source, or refuses it.
            find: gives where the release to be served is now: cheap, for it is asked again and again.
            count: is told how each roll-out ended.

        Raises:
            HedonicError: there is no release, or it is not what it should be.
        """
        self.load = load
        self._find, self._count = find, count
        self._lock = threading.Lock()
        first = find()
        self.served = Served(load(first), first)
        self.refused: Refused | None = None
        """The last release that was refused; None once the source names another."""
        self._seen: Source | str = first

    def follow(self) -> None:
        """Serve what the source names now, if it moved since the last look.

        The next release is loaded and verified beside the one that is served. A bad one is refused, and
        not tried again until the source moves; what could not be reached is tried at the next look.

        Raises:
            HedonicError: the source could not be asked; what is served stays.
        """
        with self._lock:
            try:
                source = self._find()
            except ReleaseRefused as err:
                if str(err) != self._seen:
                    self._refuse(None, err)
                    self._seen = str(err)
                return
            if source == self._seen:
                return
            if source.release == self.served.release.model.release:
                self.served = Served(self.served.release, source)
                self.refused = None
            else:
                self._swap(source)
            self._seen = source

    def _swap(self, source: Source) -> None:
        """Serve the release of ``source`` if it is good."""
        before = self.served.release.model.release
        try:
            release = self.load(source)
        except ReleaseRefused as err:
            self._refuse(source.release, err)
            return
        self.served = Served(release, source)
        self.refused = None
        self._count("swapped")
        gc.collect()  # what goes round in circles in the old one would keep its trees for long
        _logger.info("release %s is served in place of %s", source.release[:16], before[:16])

    def _refuse(self, release: str | None, err: ReleaseRefused) -> None:
        kept = self.served.release.model.release[:16]
        self.refused = Refused(release, str(err), datetime.now(UTC).isoformat())
        self._count("refused")
        _logger.error("refused, and release %s stays: %s", kept, err)
