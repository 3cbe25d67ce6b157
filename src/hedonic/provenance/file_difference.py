"""The first difference between two folders that should be the same: which file, and where in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.errors import HedonicError
from hedonic.model.plain_files import read_array

_SHOWN = 60


def first_difference(recorded: Path, rebuilt: Path, leave_out: Collection[str] = ()) -> str | None:
    """Return the first file that differs, and where; None where all are the same.

    Files in folders come before those beside them: a model before the answers that follow from it.

    Args:
        recorded: the folder as it was.
        rebuilt: the folder that should be the same.
        leave_out: names of files that do not count, and suffixes such as ``.pyc``.
    """
    ours, theirs = ({*_files(folder, leave_out)} for folder in (recorded, rebuilt))
    for name in sorted(ours | theirs, key=lambda name: ("/" not in name, name)):
        if name not in theirs:
            return f"{name}: missing from what was rebuilt"
        if name not in ours:
            return f"{name}: not in what was recorded"
        if (recorded / name).read_bytes() != (rebuilt / name).read_bytes():
            return f"{name}: {_where(recorded / name, rebuilt / name)}"
    return None


def json_difference(recorded: Any, rebuilt: Any, path: str = "") -> str | None:
    """Return the first place where two JSON values differ, with both; None where they are the same."""
    if type(recorded) is dict and type(rebuilt) is dict:
        for key in [*recorded, *(key for key in rebuilt if key not in recorded)]:
            inner = f"{path}.{key}" if path else key
            if key not in recorded or key not in rebuilt:
                return f"{inner} {'is new' if key not in recorded else 'is gone'}"
            found = json_difference(recorded[key], rebuilt[key], inner)
            if found:
                return found
        return None
    if type(recorded) is list and type(rebuilt) is list and len(recorded) == len(rebuilt):
        pairs = enumerate(zip(recorded, rebuilt, strict=True))
        return next((told for n, (a, b) in pairs if (told := json_difference(a, b, f"{path}[{n}]"))), None)
    if type(recorded) is type(rebuilt) and recorded == rebuilt:
        return None
    return f"{path or 'the whole'}: recorded {_shown(recorded)}, rebuilt {_shown(rebuilt)}"


def _files(folder: Path, leave_out: Collection[str]) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not {path.name, path.suffix} & {*leave_out}:
            yield path.relative_to(folder).as_posix()


def _where(recorded: Path, rebuilt: Path) -> str:
    """Return where two files of the same kind differ; their bytes do."""
    try:
        if recorded.suffix == ".npy":
            return _where_in_arrays(read_array(recorded), read_array(rebuilt))
        if recorded.suffix == ".json":
            found = json_difference(json.loads(recorded.read_bytes()), json.loads(rebuilt.read_bytes()))
            return found or "the same values, written otherwise"
        return _where_in_text(recorded.read_text("utf-8"), rebuilt.read_text("utf-8"))
    except (HedonicError, ValueError):
        sizes = f"{recorded.stat().st_size:,} bytes recorded, {rebuilt.stat().st_size:,} rebuilt"
        return f"cannot be read as what it should be; {sizes}"


def _where_in_arrays(recorded: npt.NDArray[Any], rebuilt: npt.NDArray[Any]) -> str:
    forms = [f"{array.dtype} of shape {array.shape}" for array in (recorded, rebuilt)]
    if forms[0] != forms[1]:
        return f"recorded {forms[0]}, rebuilt {forms[1]}"
    size = recorded.dtype.itemsize
    ours, theirs = recorded.tobytes(), rebuilt.tobytes()  # bits, for -0.0 is 0.0 and NaN is not NaN
    parts = (
        n
        for n in range(recorded.size)
        if ours[n * size : (n + 1) * size] != theirs[n * size : (n + 1) * size]
    )
    first = next(parts, None)
    if first is None:
        return "the same numbers, written otherwise"
    place = tuple(int(n) for n in np.unravel_index(first, recorded.shape))
    return f"at {place}: recorded {recorded[place]!r}, rebuilt {rebuilt[place]!r}"


def _where_in_text(recorded: str, rebuilt: str) -> str:
    pairs = zip_longest(recorded.splitlines(), rebuilt.splitlines())
    for number, (ours, theirs) in enumerate(pairs, 1):
        if ours != theirs:
            return f"line {number}: {_apart(ours, theirs)}"
    return "the ends of its lines"


def _apart(ours: str | None, theirs: str | None) -> str:
    """Return two lines from a little before they part: those of a booster are thousands of digits long."""
    if ours is None or theirs is None:
        return f"{'rebuilt' if ours is None else 'recorded'} alone has {_shown(ours or theirs)}"
    parted = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
    start = max(0, parted - _SHOWN // 2)
    told = [line[start : start + _SHOWN] for line in (ours, theirs)]
    return f"column {parted + 1}: recorded {told[0]!r}, rebuilt {told[1]!r}"


def _shown(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}…"
