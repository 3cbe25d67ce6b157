"""What is kept is verified against the history and the digests that name it, and what is wrong is named."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hedonic.custody.inspection import Inspected, inspect
from hedonic.errors import ReleaseRefused
from hedonic.promotion.bento import FILES, list_files, stored_bento
from hedonic.promotion.built_bento import verify_bento
from hedonic.settings import Settings
from tests.kept_home import DATASET, Champion, copied, kept_home, made_bento, record
from tests.tiny_release import tiny_model, tiny_release

Kept = tuple[Settings, list[Champion]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_home(tmp_path_factory.mktemp("original"), n=2)


@pytest.fixture
def kept(original: Kept, tmp_path: Path) -> Kept:
    """Return a copy of the home, to be damaged."""
    settings, champions = original
    return copied(settings, tmp_path / "copy"), champions


def wrong(settings: Settings, dataset: str | None = None, release: str | None = None) -> list[Inspected]:
    return [seen for seen in inspect(settings, dataset, release) if seen.state == "wrong"]


def test_a_whole_home_has_nothing_wrong_and_everything_in_it_was_looked_at(original: Kept) -> None:
    settings, champions = original
    seen = list(inspect(settings))
    assert {each.state for each in seen} == {"ok"}
    looked_at = {(each.kind, each.name) for each in seen}
    for champion in champions:
        assert {
            ("release", champion.release),
            ("bento", champion.bento),
            ("snapshot", champion.snapshot),
        } <= looked_at
    assert ("pointer", champions[-1].release) in looked_at
    assert [each.told.split(",")[0] for each in seen if each.kind == "history"] == ["2 records"]


def release_file(kept: Kept) -> Path:
    return kept[0].releases / DATASET / kept[1][0].release / "model" / "point" / "trees.txt"


def bento_file(name: str) -> Callable[[Kept], Path]:
    return lambda kept: stored_bento(kept[0].bentos, kept[1][0].bento) / name


def baked_file(kept: Kept) -> Path:
    return bento_file("src")(kept) / "baked_release" / kept[1][0].release / "golden.json"


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


PLACES: dict[str, tuple[str, Callable[[Kept], Path], str]] = {
    "a release": ("release", release_file, r"model/point/trees.txt: changed \(sha256 [0-9a-f]{12}"),
    "what a bento serves by": ("bento", bento_file("src/hedonic/a.py"), "src/hedonic/a.py: changed"),
    "how its image is made": ("bento", bento_file("env/docker/Dockerfile"), "env/docker/Dockerfile: changed"),
    "its lock": ("bento", bento_file("env/python/requirements.txt"), "requirements.txt: changed"),
    "its description": ("bento", bento_file("bento.yaml"), "bento.yaml: changed"),
    "the release in it": ("bento", baked_file, "golden.json: changed"),
    "its list of files": ("bento", bento_file("files.sha256"), "files.sha256"),
}


@pytest.mark.parametrize("where", PLACES)
def test_a_flipped_bit_is_named_by_its_file_and_nothing_else_is_wrong(kept: Kept, where: str) -> None:
    kind, path, told = PLACES[where]
    flipped(path(kept))
    (found,) = wrong(kept[0])
    champion = kept[1][0]
    assert (found.kind, found.dataset) == (kind, DATASET)
    assert found.name == (champion.release if kind == "release" else champion.bento)
    assert re.search(told, found.told), found.told


def test_a_bento_changed_together_with_its_list_of_files_is_not_what_the_history_recorded(kept: Kept) -> None:
    folder = stored_bento(kept[0].bentos, kept[1][0].bento)
    (folder / "env" / "docker" / "Dockerfile").write_text("FROM elsewhere\n")
    (folder / FILES).write_text(list_files(folder))
    (found,) = wrong(kept[0])
    assert "the history recorded" in found.told


def test_compiled_code_that_was_planted_in_a_bento_is_told_as_added(kept: Kept) -> None:
    settings, (_, champion) = kept
    folder = stored_bento(settings.bentos, champion.bento)
    (folder / "click.pyc").write_bytes(b"planted")
    (found,) = wrong(settings)
    assert (found.kind, found.name) == ("bento", champion.bento)
    assert f"click.pyc: not in {FILES}" in found.told


def test_what_python_compiles_beside_a_served_bento_is_no_change_of_it(kept: Kept) -> None:
    cache = stored_bento(kept[0].bentos, kept[1][0].bento) / "src" / "hedonic" / "__pycache__"
    cache.mkdir()
    (cache / "a.cpython-312.pyc").write_bytes(b"compiled")
    assert wrong(kept[0]) == []


def test_a_bento_without_its_list_is_refused_where_the_history_recorded_one(kept: Kept) -> None:
    (stored_bento(kept[0].bentos, kept[1][0].bento) / FILES).unlink()
    (found,) = wrong(kept[0])
    assert f"{FILES}: missing, and the history recorded" in found.told


def test_a_bento_whose_code_and_list_were_changed_has_another_digest_than_its_tag(kept: Kept) -> None:
    folder = stored_bento(kept[0].bentos, kept[1][0].bento)
    (folder / "src" / "hedonic" / "a.py").write_text("A = 2\n")
    (folder / FILES).write_text(list_files(folder))
    with pytest.raises(ReleaseRefused, match="another than its tag"):
        verify_bento(folder)


def test_rows_of_a_snapshot_that_were_changed_are_noticed(kept: Kept) -> None:
    path = kept[0].snapshots / DATASET / kept[1][0].snapshot / "snapshot.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, table.schema.field(2), table.column(3).cast("double")), path)
    (found,) = wrong(kept[0])
    assert (found.kind, found.name) == ("snapshot", kept[1][0].snapshot)
    assert "snapshot.parquet: changed" in found.told


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "snapshot.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda folder: (folder / "snapshot.json").unlink(), "snapshot.json: not the name of a snapshot"),
        (lambda folder: (folder / "more.parquet").touch(), "more.parquet: not part of it"),
        (shutil.rmtree, "missing"),
    ],
)
def test_a_snapshot_that_is_none_is_noticed(kept: Kept, spoil: Callable[[Path], None], told: str) -> None:
    spoil(kept[0].snapshots / DATASET / kept[1][0].snapshot)
    (found,) = wrong(kept[0])
    assert (found.kind, told in found.told) == ("snapshot", True), found


def test_a_release_and_a_bento_that_are_gone_are_missing(kept: Kept) -> None:
    settings, (first, _) = kept
    shutil.rmtree(settings.releases / DATASET / first.release)
    shutil.rmtree(stored_bento(settings.bentos, first.bento))
    found = {each.kind: each for each in wrong(settings)}
    assert found["release"].told.startswith("missing")
    assert found["bento"].told.startswith(f"bento {first.bento}: not in")


def test_a_release_that_was_collected_is_collected_and_not_missing(kept: Kept) -> None:
    settings, (first, _) = kept
    record(settings, "collected", release=first.release, reason="gc --keep 1")
    there = [each for each in inspect(settings) if each.name == first.release]
    assert (there[0].state, "still there" in there[0].told) == ("collected", True)
    shutil.rmtree(settings.releases / DATASET / first.release)
    shutil.rmtree(settings.snapshots / DATASET / first.snapshot)
    shutil.rmtree(stored_bento(settings.bentos, first.bento))
    assert wrong(settings) == []
    (collected,) = [each for each in inspect(settings) if each.name == first.release]
    assert collected.state == "collected"
    assert "by ana: gc --keep 1" in collected.told


def test_a_release_under_another_name_is_wrong_and_the_one_it_was_is_missing(kept: Kept) -> None:
    settings, (first, _) = kept
    folder = settings.releases / DATASET / first.release
    folder.rename(folder.with_name("b" * 64))
    found = {each.name: each.told for each in wrong(settings) if each.kind == "release"}
    assert found.keys() == {first.release, "b" * 64}
    assert "this is another release" in found["b" * 64]


def test_what_the_history_does_not_name_is_told_apart_and_is_no_fault(kept: Kept) -> None:
    settings, _ = kept
    release = tiny_release(settings.releases, tiny_model(seed=7)).name
    tag = made_bento(settings, release)
    states = {each.name: (each.state, each.told) for each in inspect(settings)}
    assert states[release][0] == states[tag][0] == "unrecorded"
    assert "which the history never promoted" in states[tag][1]
    assert wrong(settings) == []


def test_an_edited_record_is_named_and_the_releases_are_verified_all_the_same(kept: Kept) -> None:
    settings, (first, _) = kept
    connection = sqlite3.connect(settings.home / "history.db")
    connection.execute("DROP TRIGGER hedonic_history_no_update")
    connection.execute("UPDATE hedonic_history SET body = replace(body, 'nightly', 'by hand') WHERE seq = 1")
    connection.commit()
    connection.close()
    flipped(release_file(kept))
    found = wrong(settings)
    assert [each.kind for each in found] == ["history", "release"]
    assert "record 1: its content was changed" in found[0].told
    assert found[1].name == first.release


def test_a_history_that_is_no_store_is_wrong_and_the_releases_are_verified_all_the_same(kept: Kept) -> None:
    settings, _ = kept
    for path in settings.home.glob("history.db*"):
        path.unlink()
    (settings.home / "history.db").write_text("not a database, and long enough to be taken for a header")
    flipped(release_file(kept))
    assert {"history", "release"} <= {each.kind for each in wrong(settings)}


def test_a_pointer_that_was_moved_by_hand_is_noticed(kept: Kept) -> None:
    settings, (first, second) = kept
    path = settings.serving / f"{DATASET}.json"
    path.write_text(path.read_text().replace(second.release, first.release))
    (found,) = wrong(settings)
    assert (found.kind, found.name) == ("pointer", first.release)
    assert second.release in found.told


def test_one_release_is_verified_alone_with_what_belongs_to_it(kept: Kept) -> None:
    settings, (first, second) = kept
    flipped(release_file(kept))
    seen = [each.name for each in inspect(settings, DATASET, second.release) if each.kind != "history"]
    assert seen == [second.release, second.bento, second.snapshot]
    (found,) = wrong(settings, DATASET, first.release)
    assert found.name == first.release


def test_a_home_where_nothing_was_ever_kept_has_nothing_wrong(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, home=tmp_path / ".hedonic")
    (seen,) = inspect(settings)
    assert (seen.state, seen.told) == ("ok", "not begun yet")
    assert not settings.home.exists()
