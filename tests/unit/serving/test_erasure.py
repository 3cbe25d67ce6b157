"""What leaves the log has left it: the rows, their prices, and their bytes in the store's files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hedonic.errors import UserError
from hedonic.serving import erasure
from hedonic.serving.erasure import Erased, forget_request, forget_rows, purge
from hedonic.serving.feedback import Report
from hedonic.serving.prediction_log_entry import microseconds
from tests.answered import answered

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def files(store, tmp_path):
    return b"".join(part.read_bytes() for part in tmp_path.iterdir())


def aged(days, **changes):
    return answered(at_us=microseconds(NOW - timedelta(days=days)), **changes)


def test_a_request_is_forgotten_with_its_prices_and_not_one_byte_of_it_stays(store, feedback, tmp_path):
    others = [answered({"street": f"Other Street {n}", "x": "y" * (n % 90)}) for n in range(500)]
    private = answered({"street": "Elm Street 1428"}, {"street": "Elm Street 1429"}, request_id="private-id")
    store.append([*others[:250], private, *others[250:]])
    feedback.record(Report("private-id", 54321.0, 1))
    assert b"Elm Street" in files(store, tmp_path)
    assert forget_request(store, "private-id") == Erased(n_rows=2, n_prices=1)
    left = files(store, tmp_path)
    assert b"Other Street 7" in left
    assert b"Elm Street" not in left
    assert b"private-id" not in left
    assert (store.rows("private-id"), feedback.prices("private-id", 1)) == ((), ())
    assert len(list(store.between())) == 500
    assert forget_request(store, "private-id") == Erased()


def test_a_price_without_its_answer_is_forgotten_too(store, feedback):
    feedback.record(Report("unknown", 1.0))
    assert forget_request(store, "unknown") == Erased(n_prices=1)
    assert feedback.orphans() == 0


def test_a_person_is_forgotten_and_the_other_rows_of_the_request_keep_their_numbers(
    store, feedback, tmp_path
):
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
    assert b"1428" not in files(store, tmp_path)


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
    store, feedback, tmp_path, monkeypatch
):
    monkeypatch.setattr(erasure, "_STEP", 4)
    old = [aged(31 + n, request_id=f"old-{n}") for n in range(10)]
    store.append([*old, aged(30, request_id="last"), aged(1, request_id="young")])
    feedback.record(Report("old-3", 1.0))
    feedback.record(Report("young", 2.0))
    assert purge(store, 30, now=NOW) == Erased(n_rows=10, n_prices=1)
    assert [row.request_id for row in store.between()] == ["last", "young"]
    assert feedback.prices("young") == (2.0,)
    assert b"old-" not in files(store, tmp_path)


def test_a_price_that_never_found_its_answer_goes_by_the_day_it_came(store, feedback):
    feedback.record(Report("unknown", 1.0))
    assert purge(store, 1) == Erased()
    assert purge(store, 1, now=datetime.now(UTC) + timedelta(days=2)) == Erased(n_prices=1)


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_a_retention_that_is_no_number_of_days_deletes_nothing(store, days):
    store.append([answered(at_us=1)])
    with pytest.raises(
        UserError, match=r"HEDONIC_LOG_RETENTION_DAYS: must be .* above 0.*Nothing was deleted"
    ):
        purge(store, days)
    assert len(list(store.between())) == 1
