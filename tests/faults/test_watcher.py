"""The watcher, for real: half-written, touched, renamed files, bursts; and a watcher that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hedonic.data.fingerprint import is_being_written
from hedonic.data.snapshot import SnapshotStore
from hedonic.settings import Settings
from hedonic.watching.event import Event
from tasks.watcher import Watcher
from tests.contracts import car_contract, car_frame
from tests.drills import DrillTable, count
from tests.project import ROOT, copy_ours
from tests.waiting import wait_for
from tests.watched import make_watched, put

pytestmark = [pytest.mark.fault, pytest.mark.slow]

CARS = car_contract(source={"uri": "data/in/cars.parquet"})
BIKES = car_contract(source={"uri": "data/bikes.csv"}).model_copy(update={"name": "bikes"})
CONTRACTS = {contract.name: contract for contract in (CARS, BIKES)}


class Watched:
    """A watcher at work on two data sets, and what it tells."""

    def __init__(self, root: Path, **watch: float) -> None:
        self.settings = make_watched(root, *CONTRACTS.values(), **watch)
        self.told: list[Event] = []
        self.watcher = Watcher(self.settings, self.told.append)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.watcher.run, args=(self._stop,))
        self._contents = random.Random(0)
        self._others = SnapshotStore(root / "expected")

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def file(self, dataset: str) -> Path:
        return self.settings.root / CONTRACTS[dataset].source.uri

    def new(self, dataset: str) -> bytes:
        """Return the bytes of a file with content that there never was."""
        frame = car_frame(self._contents.randint(20, 60), seed=self._contents.getrandbits(32))
        scratch = put(frame, self.settings.root / "scratch" / self.file(dataset).name)
        return scratch.read_bytes()

    def digest(self, dataset: str) -> str:
        """Return the digest of the content that is in the file now."""
        return self._others.ingest(CONTRACTS[dataset], self.settings.root).digest

    def digests(self) -> list[str]:
        return [str(event.payload["snapshot"]) for event in self.told if event.name == "dataset.changed"]

    def wait_for(self, digest: str) -> None:
        wait_for(lambda: digest in self.digests(), f"{digest} is told")

    def look_when_quiet(self) -> None:
        """Return once everything was looked at when no file was new any more."""
        files, pause = [self.file(dataset) for dataset in CONTRACTS], self.settings.watch.debounce_s
        wait_for(lambda: not any(is_being_written(file, pause) for file in files), "the files are quiet")
        self.look_twice()

    def look_twice(self) -> None:
        """Return once everything was looked at twice more."""
        before = self.watcher.n_looks
        wait_for(lambda: self.watcher.n_looks >= before + 2, "two more looks")


def replace(watched: Watched, file: Path, content: bytes) -> None:
    """Write beside the file, and rename over it."""
    scratch = watched.settings.root / "scratch" / "next"
    scratch.write_bytes(content)
    os.replace(scratch, file)


def written(watched: Watched, file: Path, dataset: str) -> None:
    file.write_bytes(watched.new(dataset))


def replaced(watched: Watched, file: Path, dataset: str) -> None:
    replace(watched, file, watched.new(dataset))


def half_written(watched: Watched, file: Path, dataset: str) -> None:
    """Write a half (of CSV: whole lines), and the rest when the watcher has looked at it."""
    content, told = watched.new(dataset), len(watched.told)
    half = len(content) // 2 if dataset == "cars" else content.index(b"\n", len(content) // 2) + 1
    with file.open("wb") as writer:
        writer.write(content[:half])
        writer.flush()
        watched.look_twice()
        assert len(watched.told) == told
        writer.write(content[half:])


def written_in_two_halves(watched: Watched, file: Path, dataset: str) -> None:
    content, told = watched.new(dataset), len(watched.told)
    file.write_bytes(content[: len(content) // 2].rstrip(b"\n"))
    watched.look_twice()
    assert len(watched.told) == told
    file.write_bytes(content)


def burst(watched: Watched, file: Path, dataset: str) -> None:
    """Write five contents one after the other, in place and by rename, faster than the watcher's pause."""
    contents, told = [watched.new(dataset) for _ in range(5)], len(watched.told)
    for content in contents:
        (file.write_bytes if len(content) % 2 else lambda c: replace(watched, file, c))(content)
    assert len(watched.told) == told


def folder_made_anew(watched: Watched, file: Path, dataset: str) -> None:
    content = watched.new(dataset)
    kept = [(path, path.read_bytes()) for path in file.parent.iterdir() if path.is_file()]
    for path, _ in kept:
        path.unlink()
    if dataset == "cars":
        file.parent.rmdir()
        watched.look_twice()
        file.parent.mkdir()
    file.write_bytes(content)


def touched(watched: Watched, file: Path, dataset: str) -> None:
    file.touch()


def renamed_away_and_back(watched: Watched, file: Path, dataset: str) -> None:
    away = file.with_name("away")
    os.replace(file, away)
    os.replace(away, file)


def duplicated(watched: Watched, file: Path, dataset: str) -> None:
    copy = file.with_name(f"copy{file.suffix}")
    copy.write_bytes(file.read_bytes())


def same_bytes_renamed_over(watched: Watched, file: Path, dataset: str) -> None:
    replace(watched, file, file.read_bytes())


def laid_out_otherwise(watched: Watched, file: Path, dataset: str) -> None:
    """Write the same rows in other row groups (CSV: with its columns in another order)."""
    import pandas as pd

    if file.suffix == ".csv":
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        put(frame[list(reversed(frame.columns))], file)
    else:
        put(pd.read_parquet(file), file, row_group_size=7, compression="gzip")


def gone_and_back(watched: Watched, file: Path, dataset: str) -> None:
    content = file.read_bytes()
    file.unlink()
    watched.look_twice()
    file.write_bytes(content)


Case = Callable[[Watched, Path, str], None]
NEWS: tuple[Case, ...] = (written, replaced, half_written, written_in_two_halves, burst, folder_made_anew)
NO_NEWS: tuple[Case, ...] = (
    touched, renamed_away_and_back, duplicated, same_bytes_renamed_over, laid_out_otherwise, gone_and_back,
)  # fmt: skip


@pytest.mark.drill
def test_every_new_content_is_told_exactly_once_and_nothing_else_is(
    tmp_path: Path, drill_table: DrillTable
) -> None:
    times = count(few=24, promised=300)
    draw, done = random.Random(4), Counter[str]()
    # Nothing may be given up as unreadable while a case is half done, and no burst take longer than a pause.
    with Watched(tmp_path, debounce_s=0.5, patience_s=60) as watched:
        expected = []
        for dataset in CONTRACTS:
            watched.file(dataset).parent.mkdir(parents=True, exist_ok=True)
            written(watched, watched.file(dataset), dataset)
            expected.append(watched.digest(dataset))
        wait_for(lambda: sorted(watched.digests()) == sorted(expected), "the first content is told")
        expected = watched.digests()
        for number in range(times):
            case = (NEWS if number % 2 else NO_NEWS)[number // 2 % 6]
            dataset = draw.choice(sorted(CONTRACTS))
            case(watched, watched.file(dataset), dataset)
            if case in NEWS:
                expected.append(watched.digest(dataset))
                watched.wait_for(expected[-1])
            watched.look_twice()
            assert watched.digests() == expected, f"{number}: {case.__name__} of {dataset}"
            done[case.__name__] += 1
        watched.look_when_quiet()
        assert [event.name for event in watched.told] == ["dataset.changed"] * len(expected)
    drill_table.add(
        "files written, half-written, touched, renamed, in bursts: events of the watcher",
        times,
        f"{len(expected)} new contents, {len(watched.told)} events, each content once",
    )


def test_a_burst_over_both_data_sets_is_one_event_for_each(tmp_path: Path) -> None:
    watched = Watched(tmp_path, debounce_s=1.0, patience_s=60)
    contents = [(dataset, watched.new(dataset)) for _ in range(5) for dataset in CONTRACTS]
    watched.file("cars").parent.mkdir(parents=True)
    with watched:
        for dataset, content in contents:
            watched.file(dataset).write_bytes(content)
        expected = sorted(watched.digest(dataset) for dataset in CONTRACTS)
        wait_for(lambda: sorted(watched.digests()) == expected, lambda: f"{watched.digests()} is told")
        watched.look_twice()
        assert sorted(watched.digests()) == expected


def test_a_data_set_whose_contract_comes_while_the_watcher_runs_is_watched(tmp_path: Path) -> None:
    contract = tmp_path / "expectations" / "cars.yaml"
    watched = Watched(tmp_path, patience_s=60)
    text = contract.read_text()
    contract.unlink()
    put(car_frame(), watched.file("cars"))
    with watched:
        watched.look_twice()
        contract.write_text("name: [")
        watched.look_twice()
        assert watched.told == []
        contract.write_text(text)
        wait_for(lambda: watched.digests() == [watched.digest("cars")], "it is told")


def test_a_commit_to_features_is_told_while_the_watcher_runs_and_one_to_docs_is_not(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "town", patience_s=60)
    root = watched.settings.root
    copy_ours(root, "src", "tasks")
    git(root.parent, "init", "--quiet", str(root))
    begin = commit(root, "src", "tasks")
    with watched:
        record = watched.settings.home / "watch" / "checked-out.json"
        wait_for(lambda: record.exists() and begin in record.read_text(), "the first commit is seen")
        (root / "README.md").write_text("more\n")
        docs = commit(root, "README.md")
        wait_for(lambda: docs in record.read_text(), "the commit to docs is seen")
        features = root / "src" / "hedonic" / "model" / "features.py"
        features.write_text(f"# a comment\n{features.read_text()}")
        comment = commit(root, "src")
        wait_for(lambda: comment in record.read_text(), "the comment is seen")
        assert watched.told == []
        features.write_text(f"{features.read_text()}\nEXTRA = 1\n")
        changed = commit(root, "src")
        wait_for(lambda: len(watched.told) > 0, "the commit to features is told")
        watched.look_twice()
        assert [(e.name, e.payload["commit"]) for e in watched.told] == [("code.changed", changed)]


def commit(root: Path, *files: str) -> str:
    """Commit the files; return the commit."""
    git(root, "add", *files)
    git(root, "-c", "user.name=A", "-c", "user.email=a@example.invalid", "commit", "--quiet", "-m", "change")
    return git(root, "rev-parse", "HEAD")


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


DAEMON = """
import json, os, signal, sys, threading
from pathlib import Path

from hedonic.settings import load_settings
from tasks.watcher import Watcher

told, pause = Path(sys.argv[1]), sys.argv[2]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def emit(event):
    if pause == "before":
        print(event.id, flush=True)
        threading.Event().wait()
    with told.open("a") as file:
        file.write(json.dumps({"id": str(event.id), "snapshot": event.payload["snapshot"]}) + "\\n")
    if pause == "after":
        print(event.id, flush=True)
        threading.Event().wait()

Watcher(load_settings(), emit).run(stop)
"""


class Daemon:
    """A watcher in a process of its own, whose emitter pauses where we want to kill it."""

    def __init__(self, settings: Settings, pause: str = "never") -> None:
        self.told = settings.home / "told.jsonl"
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "HEDONIC_ROOT": str(settings.root),
            "HEDONIC_HOME": str(settings.home),
            **{f"HEDONIC_WATCH__{k.upper()}": str(v) for k, v in settings.watch.model_dump().items()},
        }
        command = [sys.executable, "-c", DAEMON, str(self.told), pause]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def kill_after(self, seconds: float) -> None:
        """Kill the process at that moment, wherever it is then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def wait_for(self, condition: Callable[[list[dict[str, str]]], bool]) -> None:
        """Return once the condition holds for all that was told, and kill the process."""
        try:
            wait_for(lambda: condition(self.events()), "it is told")
        finally:
            self.kill()

    def events(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.told.read_text().splitlines()] if self.told.exists() else []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = make_watched(tmp_path, CARS)
    made.home.mkdir()
    return made


@pytest.mark.drill
def test_a_watcher_killed_while_it_tells_loses_nothing_and_tells_it_under_one_id(
    settings: Settings, drill_table: DrillTable
) -> None:
    times = count(few=2, promised=20)
    for number in range(times):
        put(car_frame(30 + number), settings.root / CARS.source.uri)
        paused = Daemon(settings, pause="before" if number % 2 == 0 else "after")
        assert paused.process.stdout is not None
        told = paused.process.stdout.readline().strip()
        paused.kill()
        n_told = 1 if number % 2 == 0 else 2
        again = Daemon(settings)
        again.wait_for(lambda events, id_=told, n=n_told: [e["id"] for e in events].count(id_) == n)
    contents = {event["snapshot"]: event["id"] for event in again.events()}
    assert len(contents) == len({event["id"] for event in again.events()}) == times
    drill_table.add(
        "kill -9 of the watcher while it tells of new content",
        times,
        f"{len(contents)} of {times} told, each under one id",
    )


@pytest.mark.drill
def test_a_watcher_killed_at_any_moment_tells_every_content_in_the_end(
    settings: Settings, drill_table: DrillTable
) -> None:
    times, draw = count(few=3, promised=40), random.Random(1)
    store, expected = SnapshotStore(settings.root / "expected"), set[str]()
    for number in range(times):
        put(car_frame(30 + number), settings.root / CARS.source.uri)
        expected.add(store.ingest(CARS, settings.root).digest)
        Daemon(settings).kill_after(draw.uniform(0.2, 3))
        last = Daemon(settings)
        last.wait_for(lambda events: expected <= {event["snapshot"] for event in events})
    ids = {(event["id"], event["snapshot"]) for event in last.events()}
    assert len(ids) == len(expected) == times
    drill_table.add("kill -9 of the watcher at any moment", times, f"{times} contents, {len(ids)} event ids")


def test_a_watcher_ends_cleanly_when_asked(settings: Settings) -> None:
    put(car_frame(), settings.root / CARS.source.uri)
    daemon = Daemon(settings)
    wait_for(lambda: len(daemon.events()) == 1, "it is at work")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
