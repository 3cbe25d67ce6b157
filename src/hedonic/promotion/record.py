"""The record: one link of the history, as a value and as the JSON text that is hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, field_validator

from hedonic.data.contract import Frozen, Name
from hedonic.errors import HedonicError
from hedonic.promotion.verdict import Finding, Verdict

FORMAT_VERSION: Final = 1
GENESIS = "0" * 64
CROWNING: Final = ("promoted", "rolled_back")
JUDGED: Final = ("promoted", "kept", "refused")

_RESTORE = "Restore the store from a backup."

RecordKind = Literal["promoted", "kept", "refused", "rolled_back", "collected"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(Frozen):
    """What is appended: one judged candidate, one change of champion, or one collected release.

    ``release`` and ``bento`` exist only behind a promoting verdict. ``candidate`` is the digest of
    the judged model, ``recipe`` that of snapshot, contract, parameters, code and lock together;
    ``evaluation`` and ``study`` are those of the reports that the verdict rests on, and ``version`` is
    the registered model's.
    """

    dataset: Name
    kind: RecordKind
    release: Digest | None = None
    bento: str | None = None
    candidate: Digest | None = None
    verdict: Verdict | None = None
    figures: Mapping[str, float | None] = Field(default_factory=dict)
    actor: str
    reason: str
    recipe: Digest | None = None
    snapshot: Digest | None = None
    flow_run: str | None = None
    mlflow_run: str | None = None
    evaluation: Digest | None = None
    study: Digest | None = None
    version: int | None = None

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


class Record(Entry):
    """One link of the chain: an entry, its place, its time (UTC, ISO 8601) and its hash."""

    format_version: Literal[1] = FORMAT_VERSION
    seq: Annotated[int, Field(ge=1)]
    at: str
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
        return Record.model_validate(content | {"hash": hashlib.sha256(body.encode()).hexdigest()})
    except ValidationError as err:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())
        raise HedonicError(f"the history holds a damaged record ({told}). {_RESTORE}") from err
    except (KeyError, TypeError, ValueError) as err:
        raise HedonicError(f"the history holds a damaged record ({err!r}). {_RESTORE}") from err
