"""The parts in which a table's answer is logged: a request id of its own for each hundred rows."""

from __future__ import annotations

PART_ROWS = 100
"""Rows of a part. The first part has the request's own id, the next ``<id>.100``, then ``<id>.200``."""


def part_id(request_id: str, row: int) -> str:
    """Return the id under which a row of a table is logged."""
    first = row - row % PART_ROWS
    return f"{request_id}.{first}" if first else request_id


def row_in_part(row: int) -> int:
    """Return the number that a row of a table has in its part."""
    return row % PART_ROWS
