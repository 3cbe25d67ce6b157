"""Alerts: what somebody should know of, in one record and one book for every rule that raises one."""

from __future__ import annotations

import fcntl
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, ParamSpec

from pydantic import Field, ValidationError

from hedonic.data.contract import Frozen
from hedonic.monitoring.notifier import SEVERITIES, Notifier, Severity
from hedonic.settings import Settings

Kind = Literal[
    "run-failed", "data-refused", "verdict-refused", "champion-promoted", "canary-stopped", "worker-lost",
    "schedule-missed", "automation-failed", "part-restarted", "part-down", "data-changed",
    "approval-awaited", "alias-moved", "history-broken", "history-truncated",
    "rolled-back", "rollback-failed", "champion-refused",
]  # fmt: skip

Given = ParamSpec("Given")

_logger = logging.getLogger("hedonic.alerts")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


def never_failing(tell: Callable[Given, None]) -> Callable[Given, None]:
    """Return the same, but what it raises is logged: an alert is not worth a run."""

    @functools.wraps(tell)
    def told(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception:  # an edge: whatever goes wrong in telling stays there
            _logger.exception("what came of a run could not be told")

    return told


class Alert(Frozen):
    """What somebody should know of.

    Attributes:
        key: what it is about, such as ``run-failed:king_county``; one alert a key is open at a time.
        text: what happened, where, and what to do.
        link: where to look; None for nowhere.
        at: when it was first raised, ISO 8601 in UTC.
        times: how often it was raised since.
    """

    kind: Kind
    severity: Severity
    key: str
    title: str
    text: str
    dataset: str | None = None
    link: str | None = None
    at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    times: int = Field(default=1, ge=1)

    @property
    def stays_open(self) -> bool:
        """Return whether it is open until it is settled; what is only news is not."""
        return self.severity != "info"


class Told(Frozen):
    """What somebody is told of an alert: that there is one, or that it is over."""

    event: Literal["raised", "settled"]
    alert: Alert

    @property
    def sentence(self) -> str:
        """Return it in one line."""
        if self.event == "settled":
            return f"settled: {self.alert.title}"
        link = f" ({self.alert.link})" if self.alert.link else ""
        return " ".join(f"{self.alert.title}: {self.alert.text}{link}".split())


def failure_key(flow: str | None, subject: str) -> str:
    """Return the key of the alert that a run of a flow failed; a training's is its data set's alone."""
    return f"run-failed:{subject}" if flow in ("train", None) else f"run-failed:{flow} {subject}"


class AlertBook:
    """The alerts of one HEDONIC_HOME, as lines of JSON that are only ever appended.

    Many processes write to it. A line that cannot be read (the disk was full in the middle of it) is
    passed over.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the book of ``settings.home``; it need not exist yet."""
        self._path = settings.home / "alerts.jsonl"
        self._notifier = Notifier(settings.alerts)

    def raise_(self, alert: Alert) -> bool:
        """Return whether the alert is new, in which case somebody is told.

        One whose key is open already is counted, and told again only where it got worse.
        """
        with self._alone():
            known = self._fold().get(alert.key)
            self._append("raised", alert.model_dump(mode="json"))
        worse = _is_worse(alert, known)
        if worse:
            _logger.log(_LEVELS[alert.severity], "%s: %s", alert.title, alert.text)
            self._notifier.tell(alert.severity, alert.title, _body(alert))
        return worse

    def settle(self, key: str) -> bool:
        """Return whether an alert of that key was open; it is no longer, and somebody is told."""
        with self._alone():
            known = self._fold().get(key)
            if known is None:
                return False
            self._append("settled", {"key": key})
        _logger.info("settled: %s", known.title)
        self._notifier.tell("info", f"settled: {known.title}", _body(known))
        return True

    def open(self) -> tuple[Alert, ...]:
        """Return the alerts that are open, the worst first, then the oldest."""
        found = sorted(self._fold().values(), key=lambda alert: alert.at)
        return tuple(sorted(found, key=lambda alert: -SEVERITIES.index(alert.severity)))

    def recent(self, n: int = 20) -> tuple[Alert, ...]:
        """Return the last ``n`` alerts that were raised, open or not, the newest first."""
        raised = [Alert.model_validate(line["alert"]) for line in self._lines() if line["event"] == "raised"]
        return tuple(reversed(raised[-n:]))

    def told(self) -> Iterator[Told]:
        """Yield what somebody was told, the first first: each alert that was new or got worse, or is over."""
        known: dict[str, Alert] = {}
        for line in self._lines():
            if line["event"] == "settled":
                if (over := known.pop(line["alert"]["key"], None)) is not None:
                    yield Told(event="settled", alert=over)
                continue
            alert = Alert.model_validate(line["alert"])
            if _is_worse(alert, known.get(alert.key)):
                yield Told(event="raised", alert=alert)
            if alert.stays_open:
                known[alert.key] = alert

    def size(self) -> int:
        """Return how many bytes the book has; it only grows."""
        return self._path.stat().st_size if self._path.is_file() else 0

    def _fold(self) -> dict[str, Alert]:
        """Return the open alerts by key."""
        found: dict[str, Alert] = {}
        for line in self._lines():
            told = line["alert"]
            if line["event"] == "settled":
                found.pop(told["key"], None)
                continue
            alert = Alert.model_validate(told)
            if not alert.stays_open:
                continue
            before = found.get(alert.key)
            if before is not None:
                alert = alert.model_copy(update={"at": before.at, "times": before.times + 1})
            found[alert.key] = alert
        return found

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.is_file():
            return
        for text in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                if line["event"] == "raised":
                    Alert.model_validate(line["alert"])
                else:
                    line["alert"]["key"]
            except (ValueError, KeyError, TypeError, ValidationError):
                continue
            yield line

    def _append(self, event: Literal["raised", "settled"], alert: dict[str, Any]) -> None:
        line = json.dumps({"event": event, "at": datetime.now(UTC).isoformat(), "alert": alert})
        with self._path.open("ab") as book:
            # After half a line of a writer that was killed, ours begins on its own.
            half = book.tell() > 0 and not _ends_a_line(self._path)
            book.write((b"\n" if half else b"") + line.encode() + b"\n")
            book.flush()
            os.fsync(book.fileno())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class AlertFeed:
    """What is told from now on, by whatever process."""

    def __init__(self, settings: Settings) -> None:
        """Begin after all that the book of ``settings.home`` has."""
        self._book = AlertBook(settings)
        self._size, self._n_told = self._book.size(), sum(1 for _ in self._book.told())

    def news(self) -> tuple[Told, ...]:
        """Return what was told since the last time."""
        size = self._book.size()
        if size == self._size:
            return ()
        told = tuple(self._book.told())
        news = told[self._n_told :]
        self._size, self._n_told = size, len(told)
        return news


def _is_worse(alert: Alert, known: Alert | None) -> bool:
    return known is None or SEVERITIES.index(alert.severity) > SEVERITIES.index(known.severity)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as book:
        book.seek(-1, os.SEEK_END)
        return book.read(1) == b"\n"


def _body(alert: Alert) -> str:
    return alert.text if alert.link is None else f"{alert.text}\n{alert.link}"
