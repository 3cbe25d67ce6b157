"""The pointer follows the history: written whole, repaired, never ahead of it."""

from __future__ import annotations

import json
import os

import pytest

from hedonic.promotion import pointer as pointer_module
from hedonic.promotion.history import Entry, History
from hedonic.promotion.pointer import Pointer, pointer_path, project_pointer, read_pointer

A, B = "a" * 64, "b" * 64


@pytest.fixture
def history(tmp_path):
    opened = History(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    opened.close()


def promote(history, release, expected=None):
    entry = Entry(
        dataset="king_county",
        kind="promoted",
        release=release,
        bento="king_county:1",
        actor="ana",
        reason="x",
    )
    return history.append(entry, expected_champion=expected)


def test_the_file_says_what_the_history_says(history, tmp_path):
    record = promote(history, A)
    pointer = project_pointer(history, tmp_path, "king_county")
    assert json.loads((tmp_path / "serving" / "king_county.json").read_text()) == {
        "format_version": 1,
        "dataset": "king_county",
        "release": A,
        "folder": f"releases/king_county/{A}",
        "bento": "king_county:1",
        "promoted_at": record.at,
    }
    assert read_pointer(tmp_path, "king_county") == pointer


def test_a_new_champion_and_a_roll_back_move_it(history, tmp_path):
    promote(history, A)
    project_pointer(history, tmp_path, "king_county")
    promote(history, B, expected=A)
    assert project_pointer(history, tmp_path, "king_county").release == B
    back = Entry(dataset="king_county", kind="rolled_back", release=A, actor="ana", reason="worse")
    history.append(back, expected_champion=B)
    assert project_pointer(history, tmp_path, "king_county").release == A


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"release": "zzz"}'])
def test_a_broken_file_is_repaired(history, tmp_path, content):
    promote(history, A)
    pointer_path(tmp_path, "king_county").parent.mkdir()
    pointer_path(tmp_path, "king_county").write_bytes(content)
    assert read_pointer(tmp_path, "king_county") is None
    project_pointer(history, tmp_path, "king_county")
    assert read_pointer(tmp_path, "king_county").release == A


def test_a_file_moved_by_hand_is_repaired(history, tmp_path):
    promote(history, A)
    truth = project_pointer(history, tmp_path, "king_county")
    path = pointer_path(tmp_path, "king_county")
    path.write_text(path.read_text().replace(A, B))
    assert project_pointer(history, tmp_path, "king_county") == truth == read_pointer(tmp_path, "king_county")


@pytest.mark.parametrize("content", [b"{", None])
def test_without_a_champion_there_is_no_file(history, tmp_path, content):
    path = pointer_path(tmp_path, "king_county")
    path.parent.mkdir(exist_ok=True)
    if content:
        path.write_bytes(content)
    assert project_pointer(history, tmp_path, "king_county") is None
    assert not path.exists()


def test_a_file_that_is_right_is_left_alone(history, tmp_path):
    promote(history, A)
    project_pointer(history, tmp_path, "king_county")
    before = pointer_path(tmp_path, "king_county").stat()
    project_pointer(history, tmp_path, "king_county")
    assert pointer_path(tmp_path, "king_county").stat().st_ino == before.st_ino


def test_a_promotion_during_the_projection_is_seen(history, tmp_path, monkeypatch):
    promote(history, A)
    write = pointer_module.write_durably

    def promote_meanwhile(path, text):
        monkeypatch.setattr(pointer_module, "write_durably", write)
        promote(history, B, expected=A)
        write(path, text)

    monkeypatch.setattr(pointer_module, "write_durably", promote_meanwhile)
    assert project_pointer(history, tmp_path, "king_county").release == B
    assert read_pointer(tmp_path, "king_county").release == B


def test_a_failed_write_leaves_the_old_file_and_no_other(history, tmp_path, monkeypatch):
    promote(history, A)
    project_pointer(history, tmp_path, "king_county")
    promote(history, B, expected=A)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        project_pointer(history, tmp_path, "king_county")
    assert read_pointer(tmp_path, "king_county").release == A
    assert sorted(path.name for path in (tmp_path / "serving").iterdir()) == [
        "king_county.json", "king_county.lock",
    ]  # fmt: skip


def test_the_folder_is_relative_so_that_the_home_can_move():
    pointer = Pointer(dataset="x", release=A, folder=f"releases/x/{A}", bento=None, promoted_at="t")
    assert not pointer.folder.startswith("/")
