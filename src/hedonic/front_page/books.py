"""What our own files tell: contracts, the history, the releases' records, the prediction log."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError
from hedonic.promotion.history import History
from hedonic.promotion.record import CROWNING, Record
from hedonic.served_settings import read_log_settings
from hedonic.serving.prediction_log_schema import file_of
from hedonic.settings import Settings

_COUNT_LIMIT_S = 0.3
_STEPS = 10_000
_DAY_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Release:
    """What a release's record says beside its figures: the study and the trial that it came from."""

    study: str | None = None
    trial: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """What is written of one data set.

    Attributes:
        contract: None where it cannot be read; then ``problem`` says why.
        records: of the history, the newest first.
        release: of the champion.
    """

    dataset: str
    contract: Contract | None
    problem: str | None
    records: tuple[Record, ...] = ()
    release: Release = Release()

    @property
    def champion(self) -> Record | None:
        """Return the record that made the present champion."""
        return next((record for record in self.records if record.kind in CROWNING), None)


class Books:
    """The books of a project; what did not change is not read again."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing needs to be there yet."""
        self._settings = settings
        self._history: History | None = None
        self._head = ""
        self._records: tuple[Record, ...] = ()
        self._contracts: dict[Path, tuple[int, Contract | None, str | None]] = {}

    def read(self) -> dict[str, Book]:
        """Return the book of each data set that has a contract, by name.

        Raises:
            HedonicError: the history cannot be read.
        """
        records = self._read_history()
        books = {}
        for path in sorted(self._settings.expectations.glob("*.yaml")):
            contract, problem = self._contract(path)
            own = tuple(record for record in reversed(records) if record.dataset == path.stem)
            book = Book(path.stem, contract, problem, own)
            if book.champion is not None and book.champion.release is not None:
                book = Book(
                    path.stem, contract, problem, own, self._release(path.stem, book.champion.release)
                )
            books[path.stem] = book
        return books

    def count_predictions(self) -> dict[str, int] | None:
        """Return the rows that were answered in the last 24 hours; None where that cannot be told quickly."""
        url = read_log_settings().url
        if url is None or not ("://" not in url or url.startswith("sqlite")) or not file_of(url).is_file():
            return None
        deadline = time.monotonic() + _COUNT_LIMIT_S
        log = sqlite3.connect(f"{file_of(url).as_uri()}?mode=ro", uri=True, timeout=_COUNT_LIMIT_S)
        try:
            log.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            since = int(time.time() * 1e6) - _DAY_US
            query = "SELECT dataset, sum(n_rows) FROM hedonic_answered WHERE at_us >= ? GROUP BY dataset"
            return {str(dataset): int(n) for dataset, n in log.execute(query, (since,))}
        except sqlite3.Error:  # too many to count in that time, or the log is being made
            return None
        finally:
            log.close()

    def _read_history(self) -> tuple[Record, ...]:
        url = make_url(self._settings.history)
        if self._history is None:
            if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
                return ()
            self._history = History(self._settings.history)
        head = self._history.head()
        if head is not None and head.hash != self._head:
            self._records, self._head = self._history.records(), head.hash
        return self._records

    def _contract(self, path: Path) -> tuple[Contract | None, str | None]:
        changed = path.stat().st_mtime_ns
        known = self._contracts.get(path)
        if known is None or known[0] != changed:
            try:
                known = (changed, load_contract(path), None)
            except HedonicError as err:
                known = (changed, None, str(err))
            self._contracts[path] = known
        return known[1], known[2]

    def _release(self, dataset: str, release: str) -> Release:
        path = self._settings.releases / dataset / release / "record.json"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is in another store
            return Release()
        return Release(study=told.get("study"), trial=told.get("trial"), version=told.get("version"))
