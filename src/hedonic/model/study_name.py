"""The names of studies: the data set, the day and the rows that a study was of."""

from __future__ import annotations

from datetime import date


def study_name(dataset: str, day: date, snapshot: str) -> str:
    """Return the name of a study that begins on a day, of a snapshot by its digest."""
    return f"{dataset}-{day:%Y-%m-%d}-{snapshot[:8]}"


def is_study_of(dataset: str, name: str) -> bool:
    """Return whether a study of that name was of the data set; another's name may begin with its own."""
    return name.startswith(f"{dataset}-20")
