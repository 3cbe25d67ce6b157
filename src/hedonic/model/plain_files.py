"""The plain files that a model is kept in, read so that no content of theirs can do more than be refused."""

from __future__ import annotations

import json
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.errors import HedonicError

UNREADABLE = (
    OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError,
    RecursionError, MemoryError, SyntaxError, tokenize.TokenError,
)  # fmt: skip
"""What reading or applying content raises that is not what it should be, whoever reads it."""


def read_array(path: Path) -> npt.NDArray[Any]:
    """Return the numbers in a ``.npy`` file; never more bytes than the file has are allocated.

    Raises:
        HedonicError: they are not whole, or not numbers: Python objects (a pickle) and records are not.
    """
    try:
        with np.errstate(over="ignore"):  # of a size that its header makes up
            mapped = np.lib.format.open_memmap(path, mode="r")
        if mapped.dtype.kind not in "fiu":
            raise ValueError(f"holds {mapped.dtype}, not numbers")
        return np.array(mapped)
    except UNREADABLE as err:
        raise _refused(path, "an array of numbers", err) from err


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a ``.json`` file.

    Raises:
        HedonicError: it holds something else.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if type(content) is not dict:
            raise ValueError(f"holds {type(content).__name__}, not an object")
        return content
    except UNREADABLE as err:
        raise _refused(path, "a JSON object", err) from err


def _refused(path: Path, what: str, err: BaseException) -> HedonicError:
    reason = str(err) or type(err).__name__
    return HedonicError(f"{path.parent.name}/{path.name}: not {what}: {reason}.")
