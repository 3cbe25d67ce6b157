"""What leaves the log has left it: the rows, their prices, and their bytes in the store's files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from hedonic.errors import UserError
from hedonic.serving import erasure
from hedonic.serving.erasure import (
    Erased,
    Held,
    find_request,
    forget_request,
    forget_rows,
    purge,
    purge_steps,
)
from hedonic.serving.feedback import Report
from hedonic.serving.prediction_log_entry import microseconds
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.table_parts import part_id
from tests.answered import answered

NOW = datetime(2026, 6, 1, tzinfo=UTC)
sqlite_alone = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
postgres_alone = pytest.mark.parametrize("url", ["postgres"], indirect=True)


def files(url):
    """Return all bytes of an SQLite store: the database, its write-ahead log, its shared memory."""
    return b"".join(part.read_bytes() for part in Path(url).parent.iterdir())


def aged(days, **changes):
    return answered(at_us=microseconds(NOW - timedelta(days=days)), **changes)


def test_a_request_is_forgotten_with_its_prices(store, feedback):
    batch = [answered(request_id=f"r{n}") for n in range(100)]
    shadow = batch[40]._replace(role="shadow", release="b" * 64)
    store.append([*batch, shadow])
    feedback.record(Report("r40", 54321.0))
    feedback.record(Report("r41", 1.0))
    assert forget_request(store, "r40") == Erased(n_rows=2, n_prices=1)
    assert (store.rows("r40"), feedback.prices("r40")) == ((), ())
    assert {row.request_id for row in store.between(role=None)} == {f"r{n}" for n in range(100)} - {"r40"}
    assert feedback.prices("r41") == (1.0,)
    assert forget_request(store, "r40") == Erased()


def test_a_table_is_forgotten_with_all_its_parts_and_no_other_request(store, feedback):
    table = "0123456789abcdef" * 2
    ids = [table, part_id(table, 100), part_id(table, 1200), f"{table}0", f"1{table}.100", "0123"]
    store.append([answered({"x": 1}, {"x": 2}, request_id=one) for one in ids])
    feedback.record(Report(part_id(table, 1200), 5.0))
    assert find_request(store, table) == Held(frozenset({"king_county"}), n_rows=6, n_prices=1)
    assert forget_request(store, table) == Erased(n_rows=6, n_prices=1)
    assert {row.request_id for row in store.between()} == set(ids[3:])
    assert find_request(store, table) == Held(frozenset(), 0, 0)


@sqlite_alone
def test_not_one_byte_of_a_forgotten_request_stays_in_the_files(store, feedback, url):
    others = [answered({"street": f"Other Street {n}", "x": "y" * (n % 90)}) for n in range(500)]
    private = answered({"street": "Elm Street 1428"}, {"street": "Elm Street 1429"}, request_id="private-id")
    store.append([*others[:250], private, *others[250:]])
    feedback.record(Report("private-id", 54321.0, 1))
    assert b"Elm Street" in files(url)
    assert forget_request(store, "private-id") == Erased(n_rows=2, n_prices=1)
    left = files(url)
    assert b"Other Street 7" in left
    assert b"Elm Street" not in left
    assert b"private-id" not in left
    assert len(list(store.between())) == 500


@postgres_alone
def test_postgres_forgets_at_once_and_its_tables_hold_no_byte_once_they_are_rewritten(store, url, postgres):
    private = answered({"street": "Elm Street 1428"}, request_id="private-id")
    store.append([answered({"street": "Oak Lane"}), private, answered({"street": "Oak Lane"})])
    psycopg.connect(url, autocommit=True).execute("CHECKPOINT").connection.close()
    assert b"Elm Street" in postgres.files(url)
    assert forget_request(store, "private-id") == Erased(n_rows=1)
    assert store.read("SELECT request_id FROM hedonic_answered WHERE request_id = 'private-id'") == []
    # What forgetting does not promise, and the documentation says how to get: a rewrite of the tables.
    store.read("VACUUM FULL hedonic_answered, hedonic_feedback")
    psycopg.connect(url, autocommit=True).execute("CHECKPOINT").connection.close()
    assert b"Oak Lane" in postgres.files(url)
    assert b"Elm Street" not in postgres.files(url)


def test_a_price_without_its_answer_is_forgotten_too(store, feedback):
    feedback.record(Report("unknown", 1.0))
    assert forget_request(store, "unknown") == Erased(n_prices=1)
    assert feedback.orphans() == 0


def test_a_person_is_forgotten_and_the_other_rows_of_the_request_keep_their_numbers(store, feedback, url):
    mine = {"street": "Elm Street", "number": 1428}
    batch = answered({"street": "Oak Lane", "number": 1}, mine, {"street": "Elm Street", "number": 2})
    store.append([batch, answered(mine, request_id="alone"), answered(mine, dataset="california")])
    feedback.record(Report(batch.request_id, 11.0, 1))
    feedback.record(Report(batch.request_id, 22.0, 2))
    assert forget_rows(store, "king_county", {"street": "ELM street", "number": 1428.0}) == Erased(2, 1)
    assert [(row.row, row.inputs["number"]) for row in store.rows(batch.request_id)] == [(0, 1), (2, 2)]
    assert (feedback.prices(batch.request_id, 1), feedback.prices(batch.request_id, 2)) == ((), (22.0,))
    assert store.rows("alone") == ()
    assert [row.dataset for row in store.between(dataset="california")] == ["california"]
    assert store.read("SELECT n_rows FROM hedonic_answered WHERE request_id = ?", (batch.request_id,)) == [
        (2,)
    ]
    forget_rows(store, "california", mine)
    if store.is_file:
        assert b"1428" not in files(url)


def test_true_is_not_one_when_rows_are_looked_for(store):
    store.append([answered({"waterfront": True}), answered({"waterfront": 1})])
    assert forget_rows(store, "king_county", {"waterfront": True}) == Erased(n_rows=1)


def test_forgetting_nobody_in_particular_is_refused(store):
    store.append([answered()])
    with pytest.raises(UserError, match="say which rows to forget.*Nothing was deleted"):
        forget_rows(store, "king_county", {})
    assert len(list(store.between())) == 1


def test_an_input_that_no_row_has_is_a_mistake_and_not_a_success(store):
    store.append([answered()])
    with pytest.raises(UserError, match=r"no logged row has the input zipcod \(did you mean zipcode\?\)"):
        forget_rows(store, "king_county", {"zipcod": "98178"})
    assert forget_rows(store, "king_county", {"zipcode": "98001"}) == Erased()


def test_what_is_past_its_retention_goes_with_its_prices_and_the_rest_stays(
    store, feedback, url, monkeypatch
):
    monkeypatch.setattr(erasure, "_STEP", 4)
    old = [aged(31 + n, request_id=f"old-{n}") for n in range(10)]
    store.append([*old, aged(30, request_id="last"), aged(1, request_id="young")])
    feedback.record(Report("old-3", 1.0))
    feedback.record(Report("young", 2.0))
    assert purge(store, 30, now=NOW) == Erased(n_rows=10, n_prices=1)
    assert [row.request_id for row in store.between()] == ["last", "young"]
    assert feedback.prices("young") == (2.0,)
    if store.is_file:
        assert b"old-" not in files(url)


def test_no_transaction_deletes_more_than_five_hundred_requests(store):
    store.append([aged(9) for _ in range(1100)])
    assert [erased.n_rows for erased in purge_steps(store, 5, NOW)] == [500, 500, 100]


def test_large_answers_are_deleted_a_megabyte_at_a_time_and_none_is_too_large(store):
    large = json.dumps({"instances": [{"x": "y" * 600_000}]}).encode()
    store.append([aged(9, request_id=f"r{n}", request=large if n < 3 else b"{}") for n in range(6)])
    steps = [erased.n_rows for erased in purge_steps(store, 5, NOW)]
    assert steps == [1, 1, 4]


def test_prices_that_never_found_their_answer_go_in_steps_too(store, feedback, monkeypatch):
    monkeypatch.setattr(erasure, "_STEP", 3)
    for n in range(7):
        feedback.record(Report(f"unknown-{n}", 1.0))
    store.append([answered(request_id="known")])
    feedback.record(Report("known", 1.0))
    later = datetime.now(UTC) + timedelta(days=2)
    store.append([answered(request_id="unknown-4", at_us=microseconds(later))])  # it found its answer
    assert [erased.n_prices for erased in purge_steps(store, 1, later)] == [1, 3, 3]
    assert feedback.prices("unknown-4") == (1.0,)


def test_a_price_that_never_found_its_answer_goes_by_the_day_it_came(store, feedback):
    feedback.record(Report("unknown", 1.0))
    assert purge(store, 1) == Erased()
    assert purge(store, 1, now=datetime.now(UTC) + timedelta(days=2)) == Erased(n_prices=1)


def test_a_price_whose_answer_comes_at_the_last_moment_stays(store, feedback, url, monkeypatch):
    feedback.record(Report("r1", 1.0))
    later = datetime.now(UTC) + timedelta(days=2)
    begin, other = store.transaction, PredictionLogStore(url)

    def meanwhile():
        other.append([answered(request_id="r1", at_us=microseconds(later))])
        return begin()

    monkeypatch.setattr(store, "transaction", meanwhile)
    assert purge(store, 1, later) == Erased()
    assert feedback.prices("r1") == (1.0,)
    other.close()


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_a_retention_that_is_no_number_of_days_deletes_nothing(store, days):
    store.append([answered(at_us=1)])
    with pytest.raises(
        UserError, match=r"HEDONIC_LOG_RETENTION_DAYS: must be .* above 0.*Nothing was deleted"
    ):
        purge(store, days)
    assert len(list(store.between())) == 1
