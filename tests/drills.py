"""Drills: a few times in `make test`, in `make drills` as often as was promised."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

FULL = os.environ.get("HEDONIC_DRILLS") == "full"


def count(few: int, promised: int) -> int:
    """Return how often a drill runs: ``promised`` times under HEDONIC_DRILLS=full, else a few times."""
    return promised if FULL else few


class DrillTable:
    """What drills found, a line each; printed at the end of a session."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str]] = []

    def add(self, drill: str, times: int, found: str) -> None:
        """Add a line: what was done, how many times, and what was found."""
        self.lines.append((drill, times, found))

    def __iter__(self) -> Iterator[str]:
        yield "| drill | times | found |"
        yield "|---|---|---|"
        for drill, times, found in self.lines:
            yield f"| {drill} | {times:,} | {found} |"


TABLE = DrillTable()


@pytest.fixture(scope="session")
def drill_table() -> DrillTable:
    """Return the table that is printed at the end."""
    return TABLE
