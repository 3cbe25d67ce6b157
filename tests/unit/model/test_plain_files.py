"""Plain files: numbers and objects come back, and nothing else does more than be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hedonic.errors import HedonicError
from hedonic.model.plain_files import read_array, read_json


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.array([1, 2], dtype=np.uint64),
        np.empty((0, 2)),
        np.float64(7),
    ],
    ids=["a matrix", "a matrix by columns", "whole numbers", "nothing", "one number"],
)
def test_numbers_come_back_as_they_were_and_in_memory_of_their_own(
    tmp_path: Path, numbers: np.ndarray
) -> None:
    np.save(tmp_path / "a.npy", numbers)
    read = read_array(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"")
    assert (read.dtype, read.shape) == (numbers.dtype, numbers.shape)
    assert read.tobytes() == numbers.tobytes()
    assert type(read) is np.ndarray
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.array([{}], dtype=object), "Python objects"),
        (np.array(["text"]), "holds <U4, not numbers"),
        (np.zeros(2, dtype=[("a", "<f8")]), "not numbers"),
        (np.array([1j]), "not numbers"),
    ],
    ids=["objects", "text", "records", "complex numbers"],
)
def test_what_is_no_array_of_numbers_is_refused_by_the_name_of_its_file(
    tmp_path: Path, values: np.ndarray, told: str
) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(HedonicError, match=f"a.npy: not an array of numbers: .*{told}"):
        read_array(tmp_path / "a.npy")


def test_an_array_that_is_cut_off_or_absent_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(100.0))
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (0, 5, 60, 128, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(HedonicError, match=r"a.npy: not an array of numbers"):
            read_array(tmp_path / "a.npy")
    with pytest.raises(HedonicError, match=r"b.npy: not an array of numbers: .*No such file"):
        read_array(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"[1]", "holds list, not an object"),
        (b"\xff\xfe", "can't decode"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
    ids=["nothing", "a list", "no text", "nested without end", "a number without end"],
)
def test_what_is_no_object_is_refused_by_the_name_of_its_file(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(HedonicError, match=f"a.json: not a JSON object: .*{told}"):
        read_json(tmp_path / "a.json")


def test_an_object_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"kind": "trees"}')
    assert read_json(tmp_path / "a.json") == {"kind": "trees"}
