"""The record: one link of the history, as a value and as the JSON text that is hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from hedonic.data.contract import Frozen, Name
from hedonic.errors import HedonicError
from hedonic.promotion.verdict import Finding, Verdict

FORMAT_VERSION: Final = 2
GENESIS = "0" * 64
CROWNING: Final = ("promoted", "approved", "rolled_back")
"""What makes its release champion: by the gate alone, by the gate and a person, by going back."""
JUDGED: Final = ("promoted", "kept", "refused", "parked")
"""What the gate's verdict on a candidate came to; parked: promoting, and a person has to approve it."""

_RESTORE = "Restore the store from a backup."

RecordKind = Literal[
    "promoted", "kept", "refused", "parked", "approved", "rejected", "rolled_back", "collected", "failed"
]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(Frozen):
    """What is appended: a judged candidate, a change of champion, a collected release, a failed attempt.

    ``release`` and ``bento`` exist only behind a promoting verdict. ``candidate`` is the digest of
    the judged model, ``recipe`` that of snapshot, contract, parameters, code and lock together.

    Attributes:
        bento_files: sha256 over every file of the bento; its tag vouches for those that it serves by.
        reason: why it was done, or tried.
        failure: what went wrong; of a failed attempt alone. Its ``release`` is the one that it was about.
        evaluation, study: of the reports that the verdict rests on.
        version: the registered model's.
    """

    dataset: Name
    kind: RecordKind
    release: Digest | None = None
    bento: str | None = None
    bento_files: Digest | None = None
    candidate: Digest | None = None
    verdict: Verdict | None = None
    figures: Mapping[str, float | None] = Field(default_factory=dict)
    actor: str
    reason: str
    recipe: Digest | None = None
    snapshot: Digest | None = None
    flow_run: str | None = None
    mlflow_run: str | None = None
    failure: str | None = None
    evaluation: Digest | None = None
    study: Digest | None = None
    version: int | None = None

    @model_validator(mode="after")
    def _fails_with_a_failure(self) -> Self:
        if (self.kind == "failed") != (self.failure is not None):
            raise ValueError(f"a record of kind {self.kind} has failure={self.failure!r}; failed has one")
        return self

    @field_validator("figures")
    @classmethod
    def _finite_or_none(cls, figures: Mapping[str, float | None]) -> dict[str, float | None]:
        # JSON has no NaN: a figure that is not finite is kept by name, without a value.
        return {
            name: value if value is not None and abs(value) < float("inf") else None
            for name, value in figures.items()
        }

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """Return the reasons of the verdict, none when nothing was judged."""
        return self.verdict.reasons if self.verdict else ()

    @property
    def crowns(self) -> bool:
        """Return whether it makes its release champion."""
        return self.kind in CROWNING


class Record(Entry):
    """One link of the chain: an entry, its place, its time and its hash.

    Attributes:
        at: UTC, ISO 8601; never before that of the record before.
        incumbent: the release that was champion before; None for none, and where an older Hedonic wrote it.
    """

    format_version: Literal[2] = FORMAT_VERSION
    seq: Annotated[int, Field(ge=1)]
    at: str
    incumbent: Digest | None = None
    previous: Digest
    hash: Digest


def parse_record(body: str) -> Record:
    """Return the record of a stored body; its hash is computed, never read.

    Raises:
        HedonicError: a newer Hedonic wrote it, or it is damaged.
    """
    try:
        content = json.loads(body)
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise HedonicError(
                f"the history holds a record of format_version {version}, newer than {FORMAT_VERSION}, "
                "which this Hedonic reads. Upgrade Hedonic."
            )
        for older in range(version, FORMAT_VERSION):
            content = _MIGRATIONS[older](content)
        return Record.model_validate(content | {"hash": hashlib.sha256(body.encode()).hexdigest()})
    except ValidationError as err:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())
        raise HedonicError(f"the history holds a damaged record ({told}). {_RESTORE}") from err
    except (KeyError, TypeError, ValueError) as err:
        raise HedonicError(f"the history holds a damaged record ({err!r}). {_RESTORE}") from err


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record of format 1, which knew fewer kinds, as one of format 2."""
    return content | {"format_version": 2}


_MIGRATIONS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _from_1}
