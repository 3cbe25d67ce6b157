"""The roll-back target: the champion before the present one, to which a roll-back goes by itself."""

from __future__ import annotations

from collections.abc import Iterable

from hedonic.promotion.history import History
from hedonic.promotion.record import CROWNING, Record


def rollback_target(history: History, dataset: str) -> Record | None:
    """Return the record that made the champion before the present one; None when there is none.

    It may have been collected since: whoever goes there finds that out.
    """
    line = line_of_champions(history.records(dataset))
    return line[-2] if len(line) > 1 else None


def line_of_champions(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the records that made the present champion (the last) and those that it stands upon.

    A roll-back takes the champion that it leaves out of the line, and all that came after its target, so
    that two in a row go back two champions and never to one that was left. One that is undone by another
    puts them back.

    Args:
        records: of one data set, oldest first.
    """
    line: tuple[Record, ...] = ()
    before: tuple[Record, ...] = ()
    for record in records:
        if record.kind not in CROWNING:
            continue
        was, before = before, ()
        if record.kind != "rolled_back":
            line = line if _top(line) == record.release else (*line, record)
            continue
        if was and _top(was) == record.release:
            line = was
            continue
        before = line
        places = [place for place, each in enumerate(line) if each.release == record.release]
        line = line[: places[-1] + 1] if places else (*line[:-1], record)
    return line


def _top(line: tuple[Record, ...]) -> str | None:
    return line[-1].release if line else None
