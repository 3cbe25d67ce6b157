"""Retention: the prediction log kept no longer than it should be, by the service itself, while it answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hedonic.serving.erasure import check_retention, purge_steps
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable

EVERY_S = 3600.0

# SQLite has one writer at a time: after each step the log has four times as long to itself.
_REST = 4.0
_LEAST_REST_S = 0.02
_AGAIN_S = 60.0
_STEP_BUSY_S = 5.0
_SCRUB_BUSY_S = 0.05  # the write lock is held while readers are waited for

_logger = logging.getLogger("hedonic.serving")


class Retention:
    """A thread that deletes what is past its retention: at start, and then every hour.

    It works in small steps and rests between them, so that no answer waits noticeably for it. A store
    that is away, or whose files a reader holds while the deleted bytes are still in them, is tried again a
    minute later. Services that share a store may each do so.
    """

    def __init__(
        self,
        url: str,
        days: float,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start.

        Args:
            url: of the prediction log's store, which may be away now.
            days: how long an answer is kept.
            every_s: how long to wait after one purge until the next.
            clock: gives the present, with its time zone.

        Raises:
            UserError: ``days`` is no number of days above zero, or the URL names no store.
        """
        self._days = check_retention(days)
        self._every_s, self._clock = every_s, clock
        self._store = PredictionLogStore(url, _STEP_BUSY_S, at_once=False)
        self._scrubber = PredictionLogStore(url, _SCRUB_BUSY_S, at_once=False)
        self._purged = 0
        # A process before this one may have ended between the two; Postgres promises nothing at once.
        self._scrubbed = not self._store.is_file
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hedonic-retention", daemon=True)
        self._thread.start()

    @property
    def purged(self) -> int:
        """Return how many predictions were deleted since the start."""
        return self._purged

    def close(self, limit_s: float = 5.0) -> None:
        """Delete no more; a step that is being worked on is waited for, ``limit_s`` at most."""
        self._over.set()
        self._thread.join(limit_s)
        if not self._thread.is_alive():
            self._store.close()
            self._scrubber.close()

    def _run(self) -> None:
        told = False
        while not self._over.is_set():
            try:
                self._purge()
            except StoreUnavailable as err:
                if not told:
                    _logger.warning("the prediction log is not purged until its store is back: %s", err)
                told, wait_s = True, min(_AGAIN_S, self._every_s)
            except Exception:  # the edge of the thread: it must be there at the next hour
                _logger.exception("the prediction log could not be purged")
                wait_s = self._every_s
            else:
                told, wait_s = False, self._every_s if self._scrubbed else min(_AGAIN_S, self._every_s)
            self._over.wait(wait_s)

    def _purge(self) -> None:
        n_rows = 0
        steps = purge_steps(self._store, self._days, self._clock())
        started = time.monotonic()
        for erased in steps:
            n_rows += erased.n_rows
            self._purged += erased.n_rows
            self._scrubbed = False
            if self._over.wait(max(_LEAST_REST_S, _REST * (time.monotonic() - started))):
                return
            started = time.monotonic()
        if n_rows:
            _logger.info("%d predictions older than %g days were deleted", n_rows, self._days)
        if not self._scrubbed:
            self._scrub(n_rows)

    def _scrub(self, n_rows: int) -> None:
        try:
            self._scrubber.scrub(patience_s=0.0)
        except StoreUnavailable:
            if n_rows:
                _logger.warning("bytes of the %d stay in the store's files until nobody reads there", n_rows)
        else:
            self._scrubbed = True
