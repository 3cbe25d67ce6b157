"""Two folders are the same, or the first file that differs is named with the place in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedonic.provenance.file_difference import first_difference, json_difference


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("recorded", "rebuilt"):
        folder = tmp_path / name / "point"
        folder.mkdir(parents=True)
        (folder / "trees.txt").write_text("tree\nleaf_value=" + "0.25 " * 40 + "\nend\n")
        (folder / "facts.json").write_text(json.dumps({"a": {"b": [1, 2.5]}, "c": True}))
        np.save(folder / "weights.npy", np.arange(6.0).reshape(2, 3))
        (folder / "record.json").write_text(json.dumps([name]))
    return tmp_path / "recorded", tmp_path / "rebuilt"


LEFT_OUT = {"record.json"}


def test_the_same_bytes_have_no_difference_and_what_is_left_out_does_not_count(
    two: tuple[Path, Path],
) -> None:
    (two[1] / "point" / "cached.pyc").write_bytes(b"x")
    assert first_difference(*two, {*LEFT_OUT, ".pyc"}) is None
    assert str(first_difference(*two, {".pyc"})).startswith("point/record.json: [0]: recorded")


def test_a_line_is_told_from_where_it_parts(two: tuple[Path, Path]) -> None:
    file = two[1] / "point" / "trees.txt"
    file.write_text(file.read_text().replace("0.25 \n", "0.26 \n"))
    told = str(first_difference(*two, LEFT_OUT))
    assert told.startswith("point/trees.txt: line 2: column 210: recorded '")
    assert len(told) < 200
    file.write_text("tree\n")
    assert "line 2: recorded alone has" in str(first_difference(*two, LEFT_OUT))


def test_a_number_in_an_array_is_told_with_its_place(two: tuple[Path, Path]) -> None:
    changed = np.arange(6.0).reshape(2, 3)
    changed[1, 2] = np.nextafter(5.0, 6.0)
    np.save(two[1] / "point" / "weights.npy", changed)
    told = str(first_difference(*two, LEFT_OUT))
    assert told.startswith(
        "point/weights.npy: at (1, 2): recorded np.float64(5.0), rebuilt np.float64(5.0000"
    )
    np.save(two[1] / "point" / "weights.npy", changed[:1])
    assert "recorded float64 of shape (2, 3), rebuilt float64 of shape (1, 3)" in str(
        first_difference(*two, LEFT_OUT)
    )


def test_a_value_in_json_is_told_with_its_path(two: tuple[Path, Path]) -> None:
    file = two[1] / "point" / "facts.json"
    file.write_text(json.dumps({"a": {"b": [1, 2.75]}, "c": True}))
    assert first_difference(*two, LEFT_OUT) == "point/facts.json: a.b[1]: recorded 2.5, rebuilt 2.75"
    file.write_text(json.dumps({"c": True, "a": {"b": [1, 2.5]}}))
    assert first_difference(*two, LEFT_OUT) == "point/facts.json: the same values, written otherwise"


def test_a_file_that_one_of_them_lacks_is_named(two: tuple[Path, Path]) -> None:
    (two[0] / "a.txt").write_text("x")
    assert first_difference(*two, LEFT_OUT) == "a.txt: missing from what was rebuilt"
    (two[0] / "a.txt").rename(two[1] / "a.txt")
    assert first_difference(*two, LEFT_OUT) == "a.txt: not in what was recorded"


@pytest.mark.parametrize(
    ("recorded", "rebuilt", "told"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 1.0}, "a: recorded 1, rebuilt 1.0"),
        ({"a": 1}, {}, "a is gone"),
        ({}, {"a": 1}, "a is new"),
        ([1], [1, 2], "the whole: recorded [1], rebuilt [1, 2]"),
    ],
)
def test_values_of_another_type_or_length_differ(recorded: Any, rebuilt: Any, told: str | None) -> None:
    assert json_difference(recorded, rebuilt) == told
