"""The prediction log: every answer with its inputs, written by one thread so that no answer waits long."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Literal, Protocol

from hedonic.errors import HedonicError
from hedonic.serving.prediction_log_entry import Answered, stored
from hedonic.serving.prediction_log_schema import shown
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from hedonic.serving.prediction_log_waiters import Waiter, settle

Mode = Literal["fast", "durable"]

INTERVAL_S = 0.25
"""How long an answer may wait to be written in mode ``fast``: a kill loses at most that and one write."""

CAPACITY_BYTES = 64 * 2**20
"""What the buffer may hold: 50,000 answers of one row, or several seconds at full speed."""

_OVERHEAD = 512  # bytes of an answer in the buffer beside its bodies
_BUSY_S = 0.1  # short, for the writer looks at its deadlines between tries
_HUNG_S = 1.0  # beyond the patience: a store that refuses in time is not taken for one that says nothing
_LOOK_S = 0.25
_LASTING_S = 1.0  # who else writes to SQLite holds it for less; that is no failure to be told

_logger = logging.getLogger("hedonic.serving")


class LogUnavailable(HedonicError):
    """An answer could not be made durable in time, so it must not be given."""


class Sink(Protocol):
    """Where batches of answers go; ``PredictionLogStore`` is one."""

    url: str

    def append(self, batch: Sequence[Answered]) -> None:
        """Write all of them or raise."""

    def close(self) -> None:
        """Close it."""


class PredictionLog:
    """A bounded buffer of answers, and the thread that writes them in group commits.

    In mode ``fast`` an answer is in the buffer when ``record`` returns and in the store a quarter of a
    second later. While the store is slow or gone the buffer fills; when it is full answers are dropped
    and counted, and no prediction is slower for it. In mode ``durable`` the caller awaits the commit, and
    a second thread sees to it that nobody waits for a store that neither takes nor refuses.
    """

    def __init__(
        self,
        sink: Sink,
        mode: Mode = "fast",
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        patience_s: float = 2.0,
    ) -> None:
        """Start writing to ``sink``.

        Args:
            sink: the store.
            mode: whether an answer waits for its commit.
            capacity_bytes: what the buffer may hold.
            patience_s: how long a durable answer waits for a store that refuses, before it fails.
        """
        self.mode = mode
        self._sink = sink
        self._capacity = capacity_bytes
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._buffer: list[Answered] = []
        self._waiters: list[Waiter] = []
        self._in_flight: list[Waiter] = []
        self._writing_since: float | None = None
        self._n_bytes = 0
        self._recorded = self._settled = self._dropped = 0
        self._wake = threading.Event()
        self._closing_at: float | None = None
        self._failing = False
        self._writer = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._writer.start()
        self._closed = threading.Event()
        if mode == "durable":
            threading.Thread(target=self._watch, name="prediction-log-watch", daemon=True).start()

    @classmethod
    def open(
        cls,
        url: str,
        mode: Mode = "fast",
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        patience_s: float = 2.0,
    ) -> PredictionLog:
        """Return a log that writes to the store at ``url``: a path, sqlite:///path, postgresql://….

        Raises:
            UserError: the URL names no store, or one of a newer format.
            StoreUnavailable: the store cannot be opened. In mode ``fast`` a Postgres that is away now is
                no reason not to answer: it is told, and written to when it is back.
        """
        sink = PredictionLogStore(url, busy_s=_BUSY_S, at_once=False)
        try:
            PredictionLogStore(url).close()  # makes or migrates the tables, with more patience
        except StoreUnavailable as err:
            if sink.is_file or mode == "durable":
                raise
            _logger.error("predictions are not logged yet: %s", err)
        return cls(sink, mode, capacity_bytes=capacity_bytes, patience_s=patience_s)

    @property
    def recorded(self) -> int:
        """Return how many answers were taken."""
        return self._recorded

    @property
    def dropped(self) -> int:
        """Return how many answers were not written and never will be."""
        return self._dropped

    @property
    def pending(self) -> int:
        """Return how many answers were taken and are not written yet."""
        return self._recorded - self._settled

    @property
    def failing(self) -> bool:
        """Return whether the store refuses for a second by now, or takes longer to answer than any should."""
        return self._failing or self._hung()

    @property
    def fill(self) -> float:
        """Return how full the buffer is, from 0 to 1: at 1 answers are dropped."""
        return self._n_bytes / self._capacity

    def record(self, answered: Answered) -> asyncio.Future[None] | None:
        """Take an answer; in mode ``durable`` return what to await before the answer is given.

        Raises:
            LogUnavailable: mode ``durable``, and the buffer is full or the log is closed. The future
                raises it too, when the store refuses for longer than ``patience_s``.
        """
        size = _size(answered)
        waiter = asyncio.get_running_loop().create_future() if self.mode == "durable" else None
        with self._lock:
            if self._n_bytes + size > self._capacity or self._closing_at is not None:
                self._dropped += 1
                taken = False
            else:
                self._buffer.append(answered)
                self._n_bytes += size
                self._recorded += 1
                if waiter is not None:
                    self._waiters.append(waiter)
                taken = True
        if waiter is not None:
            if not taken:
                raise LogUnavailable(self._told("the buffer is full or closed"))
            if not self._wake.is_set():
                self._wake.set()
        return waiter

    def close(self, timeout_s: float = 5.0) -> int:
        """Write what is left and stop; return how many answers were dropped in the log's life.

        Args:
            timeout_s: after this long what is not written is dropped and counted.
        """
        with self._lock:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + timeout_s
        self._wake.set()
        self._writer.join(timeout_s + 1.0)
        if self._writer.is_alive():  # inside a call of the store that does not return
            with self._lock:
                left, self._settled = self._recorded - self._settled, self._recorded
                self._dropped += left
                waiters = self._in_flight + self._waiters
            settle(waiters, LogUnavailable(self._told("the service ends before the store answers")))
            _logger.error("%s", self._told(f"still writing at shutdown; {left} answers may be lost"))
        else:
            self._sink.close()
        self._closed.set()
        return self._dropped

    def _run(self) -> None:
        told = 0
        while True:
            self._wake.wait(None if self.mode == "durable" else INTERVAL_S)
            if self._closing_at is None:
                self._wake.clear()
            with self._lock:
                batch, self._buffer = self._buffer, []
                waiters, self._waiters = self._waiters, []
                self._in_flight = waiters
                self._writing_since = time.monotonic() if batch else None
                last = self._closing_at is not None
            if batch:
                error = self._write(batch)
                n_bytes = sum(map(_size, batch))
                with self._lock:
                    self._n_bytes -= n_bytes
                    self._settled += len(batch)
                    self._in_flight, self._writing_since = [], None
                settle(waiters, error)
            if self._dropped > told:
                told = self._dropped
                _logger.error("%s", self._told(f"{told} answers were dropped so far"))
            if last:
                return

    def _watch(self) -> None:
        """Refuse the callers of a store that hangs: what they sent is taken back where it still can be."""
        while not self._closed.wait(_LOOK_S):
            with self._lock:
                if not self._hung():  # asked with the lock: the next batch may be in flight by now
                    continue
                waiters, left = self._in_flight + self._waiters, self._buffer
                self._in_flight, self._waiters, self._buffer = [], [], []
                self._n_bytes -= sum(map(_size, left))
                self._settled += len(left)
                self._dropped += len(left)
            settle(waiters, LogUnavailable(self._told("the store does not answer")))

    def _hung(self) -> bool:
        since = self._writing_since
        return since is not None and time.monotonic() > since + self._patience_s + _HUNG_S

    def _write(self, batch: list[Answered]) -> LogUnavailable | None:
        """Write the batch, again and again while it may help; return why it was given up."""
        started = time.monotonic()
        while True:
            try:
                self._sink.append([stored(answered) for answered in batch])
            except StoreUnavailable as err:
                gives_up = self._gives_up(started)
                if not self._failing and (gives_up or time.monotonic() > started + _LASTING_S):
                    _logger.error("predictions are not logged: %s", err)
                    self._failing = True
                if gives_up:
                    self._drop(len(batch))
                    return LogUnavailable(str(err))
                time.sleep(0.02 if self.mode == "durable" else _BUSY_S)
            except Exception:  # the edge of the thread: one answer that cannot be stored must not end it
                _logger.exception("%s", self._told(f"a batch of {len(batch)} cannot be stored"))
                if len(batch) == 1:
                    self._drop(1)
                    return LogUnavailable(self._told("the answer cannot be stored"))
                errors = [self._write([answered]) for answered in batch]
                return next((error for error in errors if error is not None), None)
            else:
                if self._failing:
                    _logger.warning("predictions are logged again; %d were dropped so far", self._dropped)
                self._failing = False
                return None

    def _gives_up(self, started: float) -> bool:
        now = time.monotonic()
        if self._closing_at is not None and now > self._closing_at:
            return True
        return self.mode == "durable" and now > started + self._patience_s

    def _drop(self, n_answers: int) -> None:
        with self._lock:
            self._dropped += n_answers

    def _told(self, what: str) -> str:
        return f"prediction log {shown(self._sink.url)}: {what}"


def _size(answered: Answered) -> int:
    return len(answered.request) + len(answered.response) + _OVERHEAD
