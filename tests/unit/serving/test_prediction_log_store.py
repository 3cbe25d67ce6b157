"""The store of the prediction log: the same is asked of SQLite and of a real Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from hedonic.errors import HedonicError, UserError
from hedonic.serving import prediction_log_schema as schema
from hedonic.serving import prediction_log_store as store_module
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_entry import microseconds
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from tests.answered import RELEASE, answered


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


def test_no_answer_is_ever_changed(store):
    store.append([answered(request_id="r1")])
    with (
        pytest.raises(StoreUnavailable, match="prediction log is append-only"),
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
    with pytest.raises(StoreUnavailable, match="(?i)not.null"):
        store.append([*(answered() for _ in range(65)), answered(release=None)])
    assert list(store.between()) == []


def test_something_else_in_the_store_is_told_and_not_taken_for_an_answer(store):
    store.append([answered(request_id="r1", response=b'{"predictions": []}')])
    with pytest.raises(HedonicError, match="request r1: what is stored is not a request with its response"):
        store.rows("r1")


def test_people_can_read_a_line_a_row(store):
    store.append([answered({"x": 1}, {"x": 2}, estimates=(10.0, 20.0), request_id="r1", at_us=1_500_000)])
    query = "SELECT request_id, row_number, at, estimate, low_80, grade, inputs FROM hedonic_answer_rows"
    lines = sorted(store.read(query))
    assert [(*line[:-1], json.loads(line[-1])) for line in lines] == [
        ("r1", 0, "1970-01-01T00:00:01.500Z", 10.0, 9.0, "B", {"x": 1}),
        ("r1", 1, "1970-01-01T00:00:01.500Z", 20.0, 18.0, "B", {"x": 2}),
    ]


def test_a_store_of_a_newer_format_is_refused(url, store):
    with store.transaction() as execute:
        execute("DELETE FROM hedonic_log_format")
        execute("INSERT INTO hedonic_log_format VALUES (99)")
    with pytest.raises(UserError, match=r"format_version 99, this Hedonic knows up to 1\. Upgrade Hedonic"):
        PredictionLogStore(url)
    with pytest.raises(UserError, match="format_version 99"):
        PredictionLog.open(url)


def test_a_store_of_an_older_format_is_migrated_and_keeps_its_answers(url, store, monkeypatch):
    store.append([answered(request_id="r1")])
    monkeypatch.setattr(schema, "FORMAT_VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, ("ALTER TABLE hedonic_answered ADD COLUMN shard TEXT",))
    for _ in range(2):
        migrated = PredictionLogStore(url)
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


def test_a_store_is_found_by_path_and_by_url(tmp_path):
    path = tmp_path / "home" / "log.db"
    PredictionLogStore(f"sqlite:///{path}").close()
    assert path.is_file()
