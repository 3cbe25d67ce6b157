"""What a step's result was made of: inputs, code and lock; kept, so that what differs can be named."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from hedonic.data.contract import Frozen
from hedonic.durable_file import write_durably
from hedonic.lineage import code_digests, digest_of, lock_digest, locked_versions, step_sources
from hedonic.settings import Settings

_logger = logging.getLogger("hedonic.steps")
_LONGEST_VALUE = 24
_COMPARED = 20


class StepKey(Frozen):
    """All that shapes what a step returns.

    Attributes:
        inputs: JSON values by name.
        code: sha256 of what each source means, by its path below the project's root.
        lock: sha256 of the lock.
        versions: that the lock pins; they are told, and do not count beside ``lock``.
    """

    step: str
    dataset: str
    inputs: dict[str, Any]
    code: dict[str, str]
    lock: str
    versions: dict[str, str]

    @classmethod
    def make(
        cls,
        root: Path,
        step: str,
        dataset: str,
        entry: str,
        inputs: Mapping[str, Any],
        leave_out: Iterable[str] = (),
    ) -> Self:
        """Return the key of a step, with the code and the lock as they are now.

        Args:
            root: the project root.
            step: its name.
            dataset: that it is about.
            entry: its module, below ``root``; all that it imports counts as its code.
            inputs: JSON values.
            leave_out: sources that do not shape what the step returns.
        """
        return cls(
            step=step,
            dataset=dataset,
            inputs=dict(inputs),
            code=code_digests(root, step_sources(root, entry, leave_out)),
            lock=lock_digest(root),
            versions=locked_versions(root),
        )

    @property
    def digest(self) -> str:
        """Return the sha256 by which a result is found again, 64 hex digits.

        The order of names in the inputs counts, as it does in ``Contract.digest``.
        """
        content = {"inputs": self.inputs, "code": digest_of(self.code), "lock": self.lock}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def differences(self, before: StepKey) -> tuple[str, ...]:
        """Return what differs from an earlier key, one phrase each; none when they are the same."""
        found = list(_differences("", before.inputs, self.inputs))
        found += [f"code: {told}" for told in _differences("", before.code, self.code, values=False)]
        if self.lock != before.lock:
            moved = list(_differences("", before.versions, self.versions))
            found += [f"lock: {told}" for told in moved] or ["lock: hashes of the same versions"]
        return tuple(found)


class StepRecord(Frozen):
    """One time that a step ran: what it was given, what it returned, and how long it took.

    Attributes:
        arguments: all of them, as JSON; more than those that shape what it returns.
        flow_run: of Prefect.
    """

    key: StepKey
    arguments: dict[str, Any]
    output: Any
    seconds: float
    flow_run: str | None = None
    at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat())


class StepBook:
    """The records of one HEDONIC_HOME: ``steps/<data set>/<step>/<key>.json``, the last of each key."""

    def __init__(self, settings: Settings) -> None:
        """Open the book; it need not exist yet."""
        self._folder = settings.home / "steps"

    def write(self, record: StepRecord) -> None:
        """Keep the record. One that cannot be kept is logged: no step fails for it."""
        key = record.key
        try:
            write_durably(self._file(key.dataset, key.step, key.digest), record.model_dump_json())
        except OSError as err:
            _logger.warning("what %s was made of cannot be kept: %s", key.step, err)

    def read(self, key: StepKey) -> StepRecord | None:
        """Return the record of that key, None when there is none."""
        return _read(self._file(key.dataset, key.step, key.digest))

    def latest(self, dataset: str, step: str) -> StepRecord | None:
        """Return the last record of a step, None when it never ran."""
        return next(self._lately(dataset, step), None)

    def nearest(self, key: StepKey) -> StepRecord | None:
        """Return the record that differs least from the key, None when the step never ran.

        Of the last twenty; of those that differ in as many things the latest.
        """
        lately = islice(self._lately(key.dataset, key.step), _COMPARED)
        return min(lately, key=lambda record: len(key.differences(record.key)), default=None)

    def _lately(self, dataset: str, step: str) -> Iterator[StepRecord]:
        """Yield the records of a step, the last first."""
        paths = self._file(dataset, step, "*").parent.glob("*.json")
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            record = _read(path)
            if record is not None:
                yield record

    def _file(self, dataset: str, step: str, key: str) -> Path:
        return self._folder / dataset / step / f"{key}.json"


def _read(path: Path) -> StepRecord | None:
    try:
        return StepRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _differences(name: str, before: Any, after: Any, *, values: bool = True) -> Iterator[str]:
    """Yield a phrase for each leaf that differs, such as ``budget.trials: 3 -> 5``."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{name}.{key}" if name else key
            if key not in before:
                yield f"{inner} is new"
            elif key not in after:
                yield f"{inner} is gone"
            else:
                yield from _differences(inner, before[key], after[key], values=values)
        return
    told = f"{_told(before)} -> {_told(after)}" if values else ""
    yield f"{name}: {told}" if told and len(told) <= 2 * _LONGEST_VALUE else f"{name} changed"


def _told(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
