"""A whole history: its chain verifies, and it has every record that was vouched for; else nothing is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hedonic.durable_file import write_durably
from hedonic.errors import HedonicError
from hedonic.promotion.history import History
from hedonic.promotion.record import Record


def require_whole(history: History, home: Path, dataset: str) -> tuple[Record, ...]:
    """Return the records of a data set, oldest first, read in the one pass that verifies the chain.

    Args:
        history: to go by, or to write to.
        home: where the head that MLflow was last told is kept, so that no caller waits for MLflow.
        dataset: the data set.

    Raises:
        HedonicError: a record was changed, or one that was vouched for is gone; nothing was written.
    """
    records, problems = history.verified_records(dataset)
    if problems:
        raise HedonicError(f"{dataset}: {told_broken(problems)} Nothing was changed.")
    noted = noted_head(home, dataset)
    if noted is not None and not holds(history, noted):
        raise HedonicError(f"{dataset}: {told_truncated(history, noted)} Nothing was changed.")
    return records


def head_tag(head: Record) -> str:
    """Return the history's head as it is written in MLflow: number and hash, which vouch for all before."""
    return f"{head.seq}:{head.hash}"


def holds(history: History, tag: str) -> bool:
    """Return whether the history has the record that was its head."""
    number, _, digest = tag.partition(":")
    found = history.at(int(number)) if number.isdigit() else None
    return found is not None and found.hash == digest


def told_broken(problems: Sequence[str]) -> str:
    """Return what is wrong with a chain, and what to do."""
    return (
        f"the history is not whole: {'; '.join(problems)}. Restore it from a backup, and find out who "
        "changed it; `hedonic history` lists what it says."
    )


def told_truncated(history: History, tag: str) -> str:
    """Return what a history lacks of a head that it once had, and what to do."""
    number, _, _ = tag.partition(":")
    there = number.isdigit() and history.at(int(number)) is not None
    return (
        f"record {number} of the history {'is another one' if there else 'is missing'}: MLflow's tag of its "
        f"head says {tag[:24]}. Records were taken away or written anew. Restore the history from a backup; "
        "if it is this one that is to count, delete the tag hedonic.history.head of the registered model, "
        "and start again."
    )


def note_head(home: Path, dataset: str, tag: str) -> None:
    """Keep the head that the projections were written by; what is noted already is left alone."""
    path = _path(home, dataset)
    if noted_head(home, dataset) != tag:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, tag + "\n")


def noted_head(home: Path, dataset: str) -> str | None:
    """Return the head that was kept, None before the first."""
    try:
        return _path(home, dataset).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


def _path(home: Path, dataset: str) -> Path:
    return home / "serving" / f"{dataset}.head"
