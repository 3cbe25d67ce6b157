"""The version of the registered model that a release became, as the history has it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import read_record
from hedonic.promotion.record import Record


def release_version(records: Iterable[Record], release: str, folder: Path) -> str | None:
    """Return the version of a release; None where nothing tells.

    Args:
        records: of its data set.
        release: its digest.
        folder: where it is. The record that lies there is outside every digest, so it is read only where the
            history, which an older Hedonic wrote, has no version.
    """
    told = (r.version for r in records if r.release == release and r.version is not None)
    if (version := next(told, None)) is not None:
        return str(version)
    try:
        record = read_record(folder)
    except ReleaseRefused:  # told by whoever verifies it
        return None
    return record.version if record is not None else None
