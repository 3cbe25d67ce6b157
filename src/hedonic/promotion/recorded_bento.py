"""The recorded bento: what the history says of every file of one, which nobody can rewrite beside it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from hedonic.promotion.history import is_begun, open_history
from hedonic.promotion.record import Record
from hedonic.settings import Settings


def bento_files(records: Iterable[Record]) -> dict[str, str]:
    """Return the sha256 over every file of each bento, as it was last recorded; by its tag."""
    return {record.bento: record.bento_files for record in records if record.bento and record.bento_files}


def recorded_files(settings: Settings, tag: str) -> str | None:
    """Return the sha256 over every file of a bento; None where there is no history, or it has none.

    Raises:
        HedonicError: the history cannot be asked.
    """
    if not is_begun(settings):
        return None
    with closing(open_history(settings)) as history:
        return bento_files(history.records()).get(tag)
