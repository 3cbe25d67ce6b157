"""The prediction log takes every answer, slows none, and counts what it could not keep."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from hedonic.errors import HedonicError, UserError
from hedonic.serving import prediction_log_schema as schema
from hedonic.serving import prediction_log_store as store_module
from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.prediction_log_entry import EPOCH, microseconds
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from tests.answered import RELEASE, answered


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "prediction_log.db"


@pytest.fixture
def store(path):
    opened = PredictionLogStore(str(path))
    yield opened
    opened.close()


@contextmanager
def opened(path, mode="fast", **options):
    log = PredictionLog.open(str(path), mode, **options)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def locked(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")
    connection.close()


def wait_until(true, deadline_s=5.0):
    deadline = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def run(answering):
    """Return what the answers came to; an answer that hangs fails its test."""
    return asyncio.run(asyncio.wait_for(answering, 10))


class Shelf:
    """A sink that keeps batches in memory, refuses while told to, and waits while held."""

    url = "shelf"

    def __init__(self, n_refusals=0, poison=None):
        self.kept, self.n_refusals, self.poison = [], n_refusals, poison
        self.free, self.closed = threading.Event(), False
        self.free.set()

    def append(self, batch):
        assert self.free.wait(10)
        if self.n_refusals:
            self.n_refusals -= 1
            raise StoreUnavailable("shelf: the disk is full")
        if self.poison in [one.request_id for one in batch]:
            raise OverflowError("too large")
        self.kept += batch

    def close(self):
        self.closed = True


def test_an_answer_comes_back_as_it_was_given(path, store):
    given = answered({"lat": 47.51120000000001, "zipcode": "98178"}, estimates=(0.1 + 0.2,), request_id="r1")
    with opened(path) as log:
        assert log.record(given) is None
    (row,) = store.rows("r1")
    assert row.inputs == {"lat": 47.51120000000001, "zipcode": "98178"}
    assert (row.estimate, row.interval_90) == (0.1 + 0.2, ((0.1 + 0.2) * 0.8, (0.1 + 0.2) * 1.2))
    assert (row.release, row.route, row.latency_ms, row.grade) == (RELEASE, "/predict", 0.25, "B")
    assert row.at == EPOCH + timedelta(microseconds=given.at_us)
    assert store.rows("another") == ()


def test_each_row_of_a_request_keeps_its_number(store):
    store.append([answered({"x": 1}, {"x": 2}, {"x": 3}, request_id="r1")])
    assert [(row.row, row.inputs["x"]) for row in store.rows("r1")] == [(0, 1), (1, 2), (2, 3)]


def test_a_shadow_answer_is_kept_beside_the_served_one_and_not_read_as_one(store):
    served = answered(request_id="r1")
    store.append([served._replace(role="shadow", release="b" * 64), served])
    assert [row.role for row in store.rows("r1")] == ["served", "shadow"]
    assert [row.release for row in store.between()] == [RELEASE]


def test_rows_are_read_by_time_and_data_set_in_order_over_any_number_of_pages(store, monkeypatch):
    monkeypatch.setattr(store_module, "PAGE", 7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    at = [start + timedelta(seconds=second // 3) for second in range(300)]
    batch = [answered({"x": n}, at_us=microseconds(moment)) for n, moment in enumerate(at)]
    store.append([*batch[150:], *batch[:150], answered(dataset="california", at_us=batch[40].at_us)])
    read = list(store.between(at[30], at[90], dataset="king_county"))
    assert sorted(row.inputs["x"] for row in read) == list(range(30, 90))
    assert [row.at for row in read] == sorted(row.at for row in read)
    assert len(list(store.between())) == 301


def test_in_fast_mode_an_answer_is_in_the_store_within_a_second(path, store):
    with opened(path) as log:
        log.record(answered(request_id="r1"))
        wait_until(lambda: store.rows("r1"), deadline_s=1.0)
        wait_until(lambda: log.pending == 0)
        assert (log.recorded, log.dropped) == (1, 0)


def test_in_durable_mode_what_was_awaited_is_in_the_store(path, store):
    async def answer(log, n):
        await log.record(answered(request_id=f"r{n}"))
        return len(store.rows(f"r{n}"))

    async def answer_all(log):
        return await asyncio.gather(*(answer(log, n) for n in range(50)))

    with opened(path, "durable") as log:
        assert run(answer_all(log)) == [1] * 50


def test_a_durable_answer_is_not_given_before_the_store_has_it():
    shelf = Shelf()
    log = PredictionLog(shelf, "durable")

    async def one():
        shelf.free.clear()
        waiting = log.record(answered())
        early, _ = await asyncio.wait([waiting], timeout=0.1)
        shelf.free.set()
        await waiting
        return early

    assert run(one()) == set()
    assert log.close() == 0
    assert len(shelf.kept) == 1


def test_a_durable_answer_fails_when_the_store_stays_locked_and_the_next_one_does_not(path, store):
    async def one(log, request_id):
        await log.record(answered(request_id=request_id))

    with opened(path, "durable", patience_s=0.2) as log:
        with locked(path), pytest.raises(LogUnavailable, match="database is locked"):
            run(one(log, "lost"))
        assert log.dropped == 1
        assert log.failing
        run(one(log, "kept"))
        assert not log.failing
    assert [row.request_id for row in store.between()] == ["kept"]


def test_a_caller_that_goes_away_takes_no_other_answer_with_it():
    shelf = Shelf()
    log = PredictionLog(shelf, "durable")

    async def one(request_id):
        await log.record(answered(request_id=request_id))

    async def both():
        shelf.free.clear()
        gone, stays = asyncio.create_task(one("gone")), asyncio.create_task(one("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        shelf.free.set()
        await stays
        assert gone.cancelled()

    run(both())
    log.close()
    assert {one.request_id for one in shelf.kept} == {"gone", "stays"}


def test_a_full_buffer_drops_the_newest_answers_and_counts_them():
    shelf = Shelf()
    shelf.free.clear()
    size = len(answered().request) + len(answered().response) + 512
    log = PredictionLog(shelf, capacity_bytes=10 * size)
    for n in range(25):
        log.record(answered(request_id=f"{n:032d}"))
    assert (log.recorded, log.dropped, log.pending) == (10, 15, 10)
    shelf.free.set()
    wait_until(lambda: log.pending == 0)
    log.record(answered(request_id="after"))
    assert log.close() == 15
    assert [one.request_id for one in shelf.kept] == [*(f"{n:032d}" for n in range(10)), "after"]
    assert shelf.closed


def test_a_full_buffer_refuses_a_durable_answer():
    log = PredictionLog(Shelf(), "durable", capacity_bytes=1)

    async def one():
        await log.record(answered())

    with pytest.raises(LogUnavailable, match="the buffer is full"):
        run(one())
    log.close()


def test_a_store_that_comes_back_gets_every_answer_once_and_in_order():
    shelf = Shelf(n_refusals=3)
    log = PredictionLog(shelf)
    for n in range(20):
        log.record(answered(request_id=f"r{n}"))
    wait_until(lambda: log.pending == 0)
    assert [one.request_id for one in shelf.kept] == [f"r{n}" for n in range(20)]
    assert (log.close(), log.failing) == (0, False)


def test_an_answer_that_cannot_be_stored_takes_no_other_with_it():
    shelf = Shelf(poison="r3")
    log = PredictionLog(shelf)
    for n in range(6):
        log.record(answered(request_id=f"r{n}"))
    assert log.close() == 1
    assert [one.request_id for one in shelf.kept] == ["r0", "r1", "r2", "r4", "r5"]


def test_closing_waits_no_longer_than_its_deadline_and_counts_what_is_left():
    shelf = Shelf(n_refusals=10**9)
    log = PredictionLog(shelf)
    for _ in range(5):
        log.record(answered())
    started = time.monotonic()
    assert log.close(timeout_s=0.3) == 5
    assert time.monotonic() - started < 2
    log.record(answered())
    assert (log.dropped, log.pending) == (6, 0)


def test_closing_does_not_wait_for_a_store_that_hangs():
    shelf = Shelf()
    shelf.free.clear()
    log = PredictionLog(shelf)
    log.record(answered())
    assert log.close(timeout_s=0.1) == 1
    shelf.free.set()


def test_no_answer_is_ever_changed(store):
    store.append([answered(request_id="r1")])
    with (
        pytest.raises(StoreUnavailable, match="append-only: no answer is ever changed"),
        store.transaction() as execute,
    ):
        execute("UPDATE hedonic_answered SET release = 'b'")
    assert store.rows("r1")[0].release == RELEASE


def test_the_same_answer_written_twice_is_kept_once(store):
    one = answered(request_id="r1")
    store.append([one] * 70)
    store.append([one])
    assert len(store.rows("r1")) == 1


def test_a_failed_batch_leaves_nothing_behind(store):
    with pytest.raises(StoreUnavailable, match="NOT NULL"):
        store.append([*(answered() for _ in range(65)), answered(release=None)])
    assert list(store.between()) == []


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"instances": [{"x": 1}]}).encode("utf-16"),
        json.dumps({"instances": [{"x": 1}]}).encode("utf-16-le"),
        b"\xef\xbb\xbf" + b'{"instances": [{"x": 1}]}',
        b'{"instances": [{"x": 1' + b" " * 1_000_000 + b"}]}",
    ],
    ids=["utf-16", "utf-16-le", "byte order mark", "a megabyte of blanks"],
)
def test_a_request_is_stored_as_plain_json_however_it_was_written(path, store, body):
    with opened(path) as log:
        log.record(answered({"x": 1}, request_id="r1", request=body))
    assert store.rows("r1")[0].inputs == {"x": 1}
    assert store.read("SELECT request FROM hedonic_answered") == [(b'{"instances":[{"x":1}]}',)]


def test_something_else_in_the_store_is_told_and_not_taken_for_an_answer(store):
    store.append([answered(request_id="r1", response=b'{"predictions": []}')])
    with pytest.raises(HedonicError, match="request r1: what is stored is not a request with its response"):
        store.rows("r1")


def test_people_can_read_a_line_a_row(store):
    store.append([answered({"x": 1}, {"x": 2}, estimates=(10.0, 20.0), request_id="r1", at_us=1_500_000)])
    query = "SELECT request_id, row_number, at, estimate, low_80, grade, inputs FROM hedonic_answer_rows"
    assert store.read(query) == [
        ("r1", 0, "1970-01-01T00:00:01.500Z", 10.0, 9.0, "B", '{"x":1}'),
        ("r1", 1, "1970-01-01T00:00:01.500Z", 20.0, 18.0, "B", '{"x":2}'),
    ]


def test_a_store_of_a_newer_format_is_refused(path, store):
    with store.transaction() as execute:
        execute("DELETE FROM hedonic_log_format")
        execute("INSERT INTO hedonic_log_format VALUES (99)")
    with pytest.raises(UserError, match=r"format_version 99, this Hedonic knows up to 1\. Upgrade Hedonic"):
        PredictionLogStore(str(path))
    with pytest.raises(UserError, match="format_version 99"):
        PredictionLog.open(str(path))


def test_a_store_of_an_older_format_is_migrated_and_keeps_its_answers(path, store, monkeypatch):
    store.append([answered(request_id="r1")])
    monkeypatch.setattr(store_module, "FORMAT_VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, ("ALTER TABLE hedonic_answered ADD COLUMN shard TEXT",))
    for _ in range(2):
        migrated = PredictionLogStore(str(path))
        assert len(migrated.rows("r1")) == 1
        assert migrated.read("SELECT version FROM hedonic_log_format") == [(2,)]
        assert migrated.read("SELECT shard FROM hedonic_answered") == [(None,)]
        migrated.close()


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "log.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(
        StoreUnavailable, match=r"log\.db: file is not a database.*HEDONIC_PREDICTION_LOG_URL"
    ):
        PredictionLogStore(str(tmp_path / "log.db"))
    with pytest.raises(StoreUnavailable, match="HEDONIC_PREDICTION_LOG_URL"):
        PredictionLogStore(str(tmp_path / "log.db" / "below.db"))


@pytest.mark.parametrize("url", ["", ":memory:", "sqlite://", "mysql://host/log", "sqlite:///:memory:"])
def test_a_url_that_names_no_lasting_store_is_refused(url):
    with pytest.raises(UserError, match="names no store that keeps predictions"):
        PredictionLogStore(url)


def test_a_store_is_found_by_path_and_by_url(path):
    PredictionLogStore(f"sqlite:///{path}").close()
    assert path.is_file()


def test_postgres_without_its_driver_says_what_to_install_and_not_the_password(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"ana@db/log needs the driver psycopg.*uv pip install") as refused:
        PredictionLogStore("postgresql+psycopg://ana:secret@db/log")
    assert "secret" not in str(refused.value)


class FakeDriver:
    """What the store says to Postgres; it answers as an empty database does."""

    class Error(Exception):
        """The driver's error."""

    def __init__(self):
        self.said, self.asked, self.rowcount, self.description = [], None, 0, None

    def connect(self, url, **options):
        self.asked = (url, options)
        return self

    def execute(self, sql, values=()):
        assert sql.count("%s") == len(values)
        assert "?" not in sql
        self.said.append(" ".join(sql.split()))
        if sql == "SELECT version FROM hedonic_log_format" and len(self.said) == 1:
            raise self.Error("relation does not exist")
        return self

    def fetchall(self):
        return []

    def close(self):
        self.said.append("closed")


def test_postgres_is_spoken_to_in_its_own_words(monkeypatch):
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "psycopg", driver)
    store = PredictionLogStore("postgresql+psycopg://ana:secret@db/log", busy_s=0.1)
    assert driver.asked[0] == "postgresql://ana:secret@db/log"
    assert "lock_timeout=100" in driver.asked[1]["options"]
    made = "\n".join(driver.said)
    assert "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY" in made
    assert "BYTEA" in made
    assert not {"BLOB", "json_each", "PRAGMA"} & set(made.replace("(", " ").split())
    driver.said.clear()
    store.append([answered()] * 65)
    assert [line.split()[0] for line in driver.said] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
    store.scrub()
    assert driver.said[-1] == "VACUUM hedonic_answered, hedonic_feedback"


def test_a_lost_connection_is_told_without_the_password_and_made_again(monkeypatch):
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "psycopg", driver)
    store = PredictionLogStore("postgresql://ana:secret@db/log")
    driver.asked, heard = None, driver.execute
    monkeypatch.setattr(driver, "execute", lambda *_: (_ for _ in ()).throw(driver.Error("gone")))
    with pytest.raises(StoreUnavailable, match="prediction log postgresql://ana@db/log: gone"):
        store.append([answered()])
    monkeypatch.setattr(driver, "execute", heard)
    store.append([answered()])
    assert driver.asked is not None


def test_the_log_brings_nothing_heavy_into_the_served_process():
    code = (
        "import sys, hedonic.serving.prediction_log, hedonic.serving.feedback, hedonic.serving.erasure\n"
        "print({'pandas', 'sklearn', 'sqlalchemy', 'prefect', 'psycopg', 'mlflow'} & set(sys.modules) or '')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
