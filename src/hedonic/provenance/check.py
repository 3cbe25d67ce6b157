"""The check: one digest or name of a record, held against what is here now."""

from __future__ import annotations

from typing import Literal

from hedonic.data.contract import Frozen

Status = Literal["verified", "differs", "missing", "collected", "unchecked"]


class Check(Frozen):
    """What became of one thing that was written down.

    Attributes:
        what: its name.
        recorded: as it was written down; None where nobody did.
        found: the same, computed again from what is here now; None where there is nothing to compute from.
        status: ``verified``; ``differs``; ``missing``, the bytes are not here; ``collected``, they are
            not, and the history says that they were let go; ``unchecked``, for the reason in ``told``.
        told: more about it.
    """

    what: str
    recorded: str | None
    found: str | None
    status: Status
    told: str = ""


def compared(what: str, recorded: str | None, found: str, told: str = "") -> Check:
    """Return the check of what was written down against what was found."""
    if recorded is None:
        return Check(what=what, recorded=None, found=found, status="unchecked", told=told or NOT_RECORDED)
    status: Status = "verified" if recorded == found else "differs"
    return Check(what=what, recorded=recorded, found=found, status=status, told=told)


def unchecked(what: str, recorded: str | None, told: str) -> Check:
    """Return the check of what cannot be held against anything."""
    return Check(what=what, recorded=recorded, found=None, status="unchecked", told=told)


NOT_RECORDED = "nobody wrote it down"
