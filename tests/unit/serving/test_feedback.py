"""A sale price finds its estimate however late, early or often it is reported."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from hedonic.serving.feedback import Receipt, Report
from hedonic.serving.prediction_log_entry import microseconds
from hedonic.serving.prediction_log_store import PAGE
from hedonic.serving.problems import RequestRefused
from tests.answered import answered

MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def problems(refused):
    return [(problem.path, problem.message) for problem in refused.value.problems]


def test_a_price_joins_the_row_it_is_for(store, feedback):
    store.append([answered({"x": 1}, {"x": 2}, request_id="r1"), answered(request_id="r2")])
    receipt = feedback.record(Report("r1", 250_000, 1, observed_at=MAY))
    assert receipt == Receipt("recorded", known=True, price=250_000.0)
    (labelled,) = feedback.labelled()
    assert (labelled.entry.request_id, labelled.entry.row, labelled.entry.inputs) == ("r1", 1, {"x": 2})
    assert (labelled.price, labelled.observed_at) == (250_000.0, MAY)


def test_the_same_report_again_is_accepted_and_written_once(store, feedback):
    store.append([answered(request_id="r1")])
    for report in (Report("r1", 1.0, observed_at=MAY), Report("r1", 2.0, observed_at=JUNE)):
        assert feedback.record(report).outcome == "recorded"
        assert feedback.record(report).outcome == "repeated"
    assert feedback.record(Report("r1", 2.0)) == Receipt("repeated", known=True, price=2.0)
    assert feedback.prices("r1") == (2.0, 1.0)


@pytest.mark.parametrize("order", list(permutations([(1.0, MAY), (2.0, JUNE), (1.0, JULY)])))
def test_the_latest_price_counts_in_whatever_order_they_come_and_all_are_kept(store, feedback, order):
    store.append([answered(request_id="r1")])
    for price, observed_at in order:
        receipt = feedback.record(Report("r1", price, observed_at=observed_at))
    assert receipt.price == 1.0
    assert feedback.prices("r1") == (1.0, 2.0, 1.0)
    assert [(one.price, one.observed_at) for one in feedback.labelled()] == [(1.0, JULY)]


def test_a_price_may_come_before_its_answer_is_in_the_log(store, feedback):
    assert feedback.record(Report("r1", 5.0)) == Receipt("recorded", known=False, price=5.0)
    assert (feedback.orphans(), list(feedback.labelled())) == (1, [])
    store.append([answered(request_id="r1")])
    assert (feedback.orphans(), [one.price for one in feedback.labelled()]) == (0, [5.0])


def test_a_row_that_the_request_does_not_have_is_refused(store, feedback):
    store.append([answered(request_id="r1")])
    with pytest.raises(RequestRefused, match="1 problem") as refused:
        feedback.record(Report("r1", 5.0, row=1))
    assert problems(refused) == [("row", "the log holds no row 1 of this request")]
    assert feedback.prices("r1", 1) == ()


@pytest.mark.parametrize("price", [0, -1.0, float("nan"), float("inf"), True, "5", None, 10**400])
def test_a_price_that_is_none_is_refused(feedback, price):
    with pytest.raises(RequestRefused, match="1 problem") as refused:
        feedback.record(Report("r1", price))
    assert [path for path, _ in problems(refused)] == ["price"]


def test_labels_are_read_by_time_data_set_and_role_over_many_pages(store, feedback):
    at = [MAY + timedelta(hours=n) for n in range(PAGE + 50)]
    batch = [answered(request_id=f"r{n}", at_us=microseconds(moment)) for n, moment in enumerate(at)]
    shadow = batch[7]._replace(role="shadow", release="b" * 64)
    store.append([*batch, shadow, answered(request_id="c", dataset="california", at_us=microseconds(at[5]))])
    for request_id in [*(f"r{n}" for n in range(0, len(batch), 1)), "c"]:
        if request_id != "r9":
            feedback.record(Report(request_id, 5.0))
    read = [one.entry.request_id for one in feedback.labelled(dataset="king_county")]
    assert read == [f"r{n}" for n in range(len(batch)) if n != 9]
    assert [one.entry.request_id for one in feedback.labelled(at[8], at[11])] == ["r8", "r10"]
    assert [one.entry.release for one in feedback.labelled(role="shadow")] == ["b" * 64]


def test_a_body_is_read_as_a_report():
    body = {"request_id": "r1", "price": 5, "row": 2, "observed_at": "2026-05-01"}
    assert Report.parse(json.dumps(body).encode()) == Report("r1", 5, 2, MAY)
    assert Report.parse(b'{"request_id": "r1", "price": 5.5}') == Report("r1", 5.5)
    moment = Report.parse(b'{"request_id": "r1", "price": 1, "observed_at": "2026-05-01T02:00:00+02:00"}')
    assert moment.observed_at == MAY


def test_every_problem_of_a_body_is_told_at_once():
    ahead = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    body = {"prize": 1, "request_id": "no spaces", "row": 1.5, "observed_at": ahead}
    with pytest.raises(RequestRefused, match="5 problems") as refused:
        Report.parse(json.dumps(body).encode())
    assert [path for path, _ in problems(refused)] == ["prize", "price", "request_id", "row", "observed_at"]


@pytest.mark.parametrize("observed_at", ["yesterday", "2026-05-01T00:00:00", 20260501, "2026-13-01", True])
def test_a_date_that_is_none_is_refused(observed_at):
    body = {"request_id": "r1", "price": 1, "observed_at": observed_at}
    with pytest.raises(RequestRefused) as refused:
        Report.parse(json.dumps(body).encode())
    assert [path for path, _ in problems(refused)] == ["observed_at"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 100_000, b"\xff\xfe\xfd", b'{"a": NaN}', b"null"])
def test_a_body_that_is_no_report_is_refused(body):
    with pytest.raises(RequestRefused):
        Report.parse(body)


@pytest.mark.parametrize(("text", "row"), [("3", 3), ("3.0", 3), ("0.0", 0)])
def test_a_whole_number_is_a_row_however_it_is_written(text, row):
    assert Report.parse(f'{{"request_id": "r", "price": 1, "row": {text}}}'.encode()).row == row


def test_a_report_that_gives_a_field_twice_is_refused():
    with pytest.raises(RequestRefused, match="twice in one object") as refused:
        Report.parse(b'{"request_id": "r", "price": 1, "price": 2}')
    assert [problem.path for problem in refused.value.problems] == ["price"]
