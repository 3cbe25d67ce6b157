"""A backup brings back the same champion, wherever it is restored; a damaged one changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import shutil
import signal
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hedonic.custody import backup, restoration
from hedonic.custody.archive import MANIFEST, unpack
from hedonic.custody.backup import back_up
from hedonic.custody.embedded_store import copy_store, move_places
from hedonic.custody.inspection import inspect
from hedonic.custody.restoration import Restored, restore
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history import History
from hedonic.promotion.record import Entry
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.settings import Settings
from tests.answered import answered
from tests.broken_release import DAMAGES
from tests.kept_home import DATASET, Champion, kept_home, write
from tests.unit.test_turn import line, taker

LOG = LogSettings()
OTHERS = {
    "optuna/studies.journal": '{"op": 1}\n{"op": 2}\n{"op',
    "alerts.jsonl": '{"kind": "x"}\n',
    "watch/tiny_town.json": "{}",
    "data_docs/index.html": "<p>",
    "mlflow/artifacts/tiny_town/1/MLmodel": "x",
}
LEFT_OUT = (
    "supervisor/processes/a.ini",
    "logs/a.log",
    "prefect/prefect.db",
    "fetched/a/b",
    "serving/tiny_town.traffic.json",
)

Backed = tuple[Settings, list[Champion], Path]


@pytest.fixture(autouse=True)
def _aliases_are_tested_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow takes seconds to import; ``tests/faults/test_backup.py`` restores with it."""
    monkeypatch.setattr(restoration, "project", lambda *_: None)


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """Return a home in which something runs, its champions, and its backup."""
    settings, champions = kept_home(tmp_path_factory.mktemp("project"), n=2)
    for name, content in OTHERS.items():
        write(settings.home / name, content)
    for name in LEFT_OUT:
        write(settings.home / name, "secret")
    store = PredictionLogStore(str(settings.home / "prediction_log.db"))
    store.append([answered(request_id="asked", release=champions[-1].release)])
    path, _ = back_up(settings, LOG, tmp_path_factory.mktemp("archives"))
    store.close()
    return settings, champions, path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, home=tmp_path / "another" / "home")


def restored(settings: Settings, archive: Path, *, force: bool = False) -> Restored:
    return restore(settings, LOG, archive, force=force)


def champion(settings: Settings) -> str | None:
    history = History(settings.history)
    try:
        found = history.champion(DATASET)
        assert history.verify_chain() == ()
        return found.release if found else None
    finally:
        history.close()


def digests(home: Path, *names: str) -> dict[str, str]:
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in names
        for path in (home / name).rglob("*")
        if path.is_file()
    }


def test_what_was_wiped_comes_back_the_same_and_is_whole(backed: Backed, elsewhere: Settings) -> None:
    settings, champions, archive = backed
    restored(elsewhere, archive)
    assert champion(elsewhere) == champions[-1].release
    assert {seen.state for seen in inspect(elsewhere)} == {"ok"}
    same = (
        "releases",
        "bentoml/bentos",
        "snapshots",
        "candidates",
        "steps",
        "reports",
        "validations",
        "mlflow",
    )
    assert digests(elsewhere.home, *same) == digests(settings.home, *same)
    for name, content in OTHERS.items():
        assert (elsewhere.home / name).read_text() == content.removesuffix(
            '{"op'
        )  # a line half written is not
    store = PredictionLogStore(str(elsewhere.home / "prediction_log.db"))
    assert [row.release for row in store.rows("asked")] == [champions[-1].release]
    store.close()


def test_logs_tokens_and_what_is_made_again_are_not_in_it(backed: Backed, elsewhere: Settings) -> None:
    restored(elsewhere, backed[2])
    assert not [name for name in LEFT_OUT if (elsewhere.home / name).exists()]
    assert b"secret" not in gzip.decompress(backed[2].read_bytes())
    assert backed[2].stat().st_mode & 0o077 == 0


def test_a_history_that_grows_meanwhile_is_whole_in_the_backup(tmp_path: Path) -> None:
    settings, champions = kept_home(tmp_path / "project", n=1)
    pid = os.fork()
    if pid == 0:
        try:
            history = History(settings.history)
            while True:
                history.append(Entry(dataset=DATASET, kind="kept", actor="ana", reason="again"))
        finally:
            os._exit(1)  # whatever is raised is not for the tests' own process, of which this is a copy
    try:
        for n in range(3):
            path, manifest = back_up(settings, LOG, tmp_path / f"{n}.tar.gz")
            target = Settings(root=tmp_path, home=tmp_path / f"home-{n}")
            restored(target, path)
            assert champion(target) == champions[0].release
            history = History(target.history)
            assert (head := history.head()) is not None
            assert head.hash == manifest.head
            history.close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_registry_in_a_backup_vouches_for_no_record_that_its_history_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = kept_home(tmp_path / "project", n=1)
    registry = settings.home / "mlflow" / "mlflow.db"
    registry.parent.mkdir(exist_ok=True)

    def promote() -> None:
        """Add a record, and then the registry's tag of the history's head, as a run does."""
        history = History(settings.history)
        record = history.append(Entry(dataset=DATASET, kind="kept", actor="ana", reason="meanwhile"))
        history.close()
        with closing(sqlite3.connect(registry)) as store, store:
            store.execute("CREATE TABLE IF NOT EXISTS head (seq INTEGER)")
            store.execute("INSERT INTO head VALUES (?)", (record.seq,))

    def copy(file: Path, target: Path) -> None:
        copy_store(file, target)
        promote()

    promote()
    monkeypatch.setattr(backup, "copy_store", copy)
    path, _ = back_up(settings, LOG, tmp_path / "archive.tar.gz")
    target = Settings(root=tmp_path, home=tmp_path / "restored")
    restored(target, path)
    history = History(target.history)
    head = history.head()
    history.close()
    with closing(sqlite3.connect(target.home / "mlflow" / "mlflow.db")) as store:
        (vouched,) = store.execute("SELECT max(seq) FROM head").fetchone()
    assert head is not None
    assert vouched <= head.seq


def test_a_home_where_something_is_kept_is_refused_unless_forced_and_then_moved_aside(
    backed: Backed, tmp_path: Path
) -> None:
    _, champions, archive = backed
    settings, (other,) = kept_home(tmp_path / "project", n=1)
    record = History(settings.history)
    record.append(Entry(dataset=DATASET, kind="kept", actor="ana", reason="more"))  # what is in the -wal too
    with pytest.raises(UserError, match=r"something is kept here already .*history.db.*--force"):
        restored(settings, archive)
    assert champion(settings) == other.release
    record.close()
    done = restored(settings, archive, force=True)
    assert champion(settings) == champions[-1].release
    assert done.replaced is not None
    assert champion(Settings(root=tmp_path, home=done.replaced)) == other.release
    assert not (settings.prefect_home / "storage").exists()  # results that name what is not here any more


def test_nothing_is_restored_below_a_training(backed: Backed, elsewhere: Settings) -> None:
    with taker(elsewhere.home, "cars") as training:
        assert line(training) == "mine"
        with pytest.raises(UserError, match=f"a training of cars .process {training.pid}.*hedonic down"):
            restored(elsewhere, backed[2])
    assert not (elsewhere.home / "history.db").exists()


def changed(
    archive: Path,
    path: Path,
    change: Callable[[tarfile.TarInfo, bytes], Iterator[tuple[tarfile.TarInfo, bytes]]],
) -> Path:
    """Return an archive in which each member is what ``change`` makes of it."""
    with tarfile.open(archive) as old, tarfile.open(path, "w:gz", compresslevel=1) as new:
        for member in old:
            content = old.extractfile(member)
            for info, data in change(member, content.read() if content else b""):
                info.size = len(data) if info.isreg() else 0
                new.addfile(info, io.BytesIO(data))
    return path


def with_member(info: tarfile.TarInfo, content: bytes = b"x") -> Callable[[Path, Path], Path]:
    def change(member: tarfile.TarInfo, data: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        if member.name == MANIFEST:
            yield info, content
        yield member, data

    return lambda archive, path: changed(archive, path, change)


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def without(name: str) -> Callable[[Path, Path], Path]:
    def change(member: tarfile.TarInfo, data: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        if member.name != name:
            yield member, data

    return lambda archive, path: changed(archive, path, change)


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path, Path], Path]:
    def change(member: tarfile.TarInfo, data: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        yield member, data.replace(old, new) if member.name == name else data

    return lambda archive, path: changed(archive, path, change)


REFUSED: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "a way up": (with_member(named("../outside")), "is no file of a backup"),
    "a way up inside": (with_member(named("releases/../../outside")), "is no file of a backup"),
    "a way that comes back": (with_member(named("releases/../alerts.jsonl")), "is no file of a backup"),
    "an absolute name": (with_member(named("/tmp/outside")), "is no file of a backup"),
    "a link out": (with_member(named("releases/x", tarfile.SYMTYPE, "/etc")), "is no file of a backup"),
    "a link inside": (with_member(named("releases/x", tarfile.SYMTYPE, "y")), "is no file of a backup"),
    "a hard link": (with_member(named("releases/x", tarfile.LNKTYPE, "alerts.jsonl")), "no file of a backup"),
    "a device": (with_member(named("releases/x", tarfile.CHRTYPE)), "is no file of a backup"),
    "a pipe": (with_member(named("releases/x", tarfile.FIFOTYPE)), "is no file of a backup"),
    "the same twice": (with_member(named("alerts.jsonl")), "there twice"),
    "a file more": (with_member(named("releases/x")), "releases/x: not in its manifest"),
    "a file less": (without("alerts.jsonl"), "alerts.jsonl: missing"),
    "a file changed": (replaced("alerts.jsonl", b"x", b"y"), "alerts.jsonl: changed"),
    "no manifest": (without(MANIFEST), f"{MANIFEST} is missing"),
    "a manifest that is none": (replaced(MANIFEST, b'"home"', b'"house"'), MANIFEST),
    "a newer format": (replaced(MANIFEST, b'"format_version": 1', b'"format_version": 2'), "Upgrade it"),
    "no history": (without("history.db"), "history.db: missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_that_is_no_backup_is_refused_by_what_is_wrong_and_changes_nothing(
    backed: Backed, elsewhere: Settings, tmp_path: Path, case: str
) -> None:
    change, told = REFUSED[case]
    archive = change(backed[2], tmp_path / "changed.tar.gz")
    with pytest.raises(HedonicError, match="Nothing was changed|Upgrade it") as refusal:
        restored(elsewhere, archive)
    assert told in str(refusal.value)
    assert str(archive) in str(refusal.value)
    assert [path.name for path in elsewhere.home.iterdir()] == ["custody.lock"]
    assert {path.name for path in tmp_path.iterdir()} == {"another", "changed.tar.gz"}


@pytest.mark.parametrize("drill", range(12))
def test_an_archive_with_a_bit_flipped_or_its_end_cut_off_is_refused(
    backed: Backed, tmp_path: Path, drill: int
) -> None:
    rng = random.Random(drill)
    archive = tmp_path / "damaged.tar.gz"
    archive.write_bytes(DAMAGES[drill % len(DAMAGES)](backed[2].read_bytes(), rng))
    with pytest.raises(HedonicError, match="damaged.tar.gz: damaged: .*Nothing was changed"):
        unpack(archive, tmp_path)


def test_what_is_no_archive_or_not_there_is_told(elsewhere: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        restored(elsewhere, tmp_path / "none.tar.gz")
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(HedonicError, match="cannot be read to its end"):
        restored(elsewhere, tmp_path / "text.tar.gz")


def test_a_restoration_that_is_killed_before_its_end_has_no_champion_and_can_be_made_again(
    backed: Backed, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            monkeypatch.setattr(restoration, "_put", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            restored(elsewhere, backed[2])
        finally:
            os._exit(1)  # whatever is raised is not for the tests' own process, of which this is a copy
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert not (elsewhere.home / "history.db").exists()
    assert [path.name for path in elsewhere.home.glob(".restoring-*")]
    restored(elsewhere, backed[2])
    assert champion(elsewhere) == backed[1][-1].release
    assert not [path.name for path in elsewhere.home.glob(".restoring-*")]


def test_a_backup_never_writes_over_a_file_and_needs_a_history_and_a_folder(
    backed: Backed, elsewhere: Settings, tmp_path: Path
) -> None:
    before = backed[2].read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        back_up(backed[0], LOG, backed[2])
    assert backed[2].read_bytes() == before
    with pytest.raises(UserError, match="no history yet"):
        back_up(elsewhere, LOG, tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        back_up(backed[0], LOG, tmp_path / "none" / "a.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_stores_on_a_server_are_for_its_own_tools(backed: Backed, tmp_path: Path) -> None:
    settings = backed[0].model_copy(update={"history_url": "postgresql+psycopg://ana:secret@db/hedonic"})
    with pytest.raises(UserError, match=r"the history is at postgresql\+psycopg://ana:\*\*\*@db/hedonic"):
        back_up(settings, LOG, tmp_path)
    log = LogSettings(prediction_log_url="postgresql://ana:secret@db/hedonic")
    _, manifest = back_up(backed[0], log, tmp_path)
    assert manifest.left_out == ("prediction_log.db: in HEDONIC_PREDICTION_LOG_URL",)
    assert "prediction_log.db" not in manifest.files


def test_stores_that_are_files_elsewhere_come_back_there(backed: Backed, tmp_path: Path) -> None:
    settings = Settings(
        root=tmp_path, home=tmp_path / "home", history_url=f"sqlite:///{tmp_path / 'stores' / 'h.db'}"
    )
    log = LogSettings(prediction_log_url=str(tmp_path / "stores" / "answers.db"))
    restore(settings, log, backed[2])
    assert {"h.db", "answers.db"} <= {path.name for path in (tmp_path / "stores").iterdir()}
    assert champion(settings) == backed[1][-1].release


def test_places_below_the_old_home_are_named_below_the_new_one_and_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    values = [
        "file:///srv/a%20b/.hedonic/mlflow/artifacts/1", "/srv/a b/.hedonic/x",
        '{"uri": "/srv/a b/.hedonic/y"}',
        "/srv/a b/.hedonic2/x", "/mnt/srv/a b/.hedonic/x", "no place",
    ]  # fmt: skip
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE runs (artifact_uri VARCHAR(200), n INTEGER)")
    connection.executemany("INSERT INTO runs VALUES (?, 1)", [(value,) for value in values])
    connection.commit()
    assert move_places(file, Path("/srv/a b/.hedonic"), Path("/new/home")) == 3
    found = [value for (value,) in connection.execute("SELECT artifact_uri FROM runs")]
    connection.close()
    assert found == [
        "file:///new/home/mlflow/artifacts/1", "/new/home/x", '{"uri": "/new/home/y"}', *values[3:],
    ]  # fmt: skip


def test_scratch_folders_of_running_processes_are_not_backed_up(backed: Backed, tmp_path: Path) -> None:
    folder = backed[0].releases / DATASET / ".writing-abc"
    write(folder / "half.json", "{")
    try:
        _, manifest = back_up(backed[0], LOG, tmp_path)
    finally:
        shutil.rmtree(folder)
    assert not [name for name in manifest.files if "half" in name]
