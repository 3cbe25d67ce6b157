"""Every good answer of a real endpoint is in the log, takes the price that was paid, and is explained."""

import pytest

from hedonic.serving.prediction_log_store import PredictionLogStore
from tests.tiny_release import ROW
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def rows(served, request_id):
    store = PredictionLogStore(str(served.log.parent / "prediction_log.db"))
    try:
        return store.rows(request_id)
    finally:
        store.close()


def logged(served, request_id):
    """Return the rows of a request; mode fast writes them a moment after the answer."""
    return wait_for(lambda: rows(served, request_id), f"{request_id} is in the log")


@pytest.mark.parametrize("path", ["/predict", "/predict?declared"])
def test_an_answer_is_logged_with_its_inputs_by_either_way_to_it(served, path):
    answer = served.predict(ROW, {**ROW, "bedrooms": 4}, path=path)
    assert answer.status == 200
    first, second = logged(served, answer.json["request_id"])
    assert first.release == answer.json["model"]["release"]
    assert second.inputs["bedrooms"] == 4
    assert first.estimate == answer.json["predictions"][0]["estimate"]


def test_a_refused_request_is_not_logged(served):
    answer = served.predict({**ROW, "bedrooms": "three"})
    assert answer.status == 400
    assert logged(served, served.predict(ROW).json["request_id"])  # what came after it is there
    assert rows(served, answer.json["request_id"]) == ()


def test_a_price_is_taken_once_for_a_known_request(served):
    request_id = served.predict(ROW).json["request_id"]
    assert logged(served, request_id)
    first = served.post({"request_id": request_id, "price": 512_000}, "/feedback")
    again = served.post({"request_id": request_id, "price": 512_000}, "/feedback")
    assert (first.status, first.json["outcome"], first.json["price"]) == (200, "recorded", 512_000)
    assert (again.status, again.json["outcome"]) == (200, "repeated")


def test_a_price_for_a_request_that_is_not_known_yet_waits_for_it(served):
    early = served.post({"request_id": "0" * 32, "price": 1.0}, "/feedback")
    assert (early.status, early.json["known"]) == (202, False)


def test_a_report_that_is_none_is_refused_with_every_problem(served):
    wrong = served.post({"price": -1, "colour": "red"}, "/feedback")
    assert wrong.status == 400
    assert {problem["path"] for problem in wrong.json["error"]["problems"]} >= {
        "request_id",
        "price",
        "colour",
    }


def test_the_schema_is_the_contracts(served):
    schema = served.ask("GET", "/schema").json
    assert "bedrooms" in str(schema)
    assert served.ask("GET", "/ping").status == 200


def test_an_explanation_adds_up_to_the_estimate_of_the_same_row(served):
    answer = served.post({"instances": [ROW]}, "/explain")
    assert answer.status == 200
    (told,) = answer.json["explanations"]
    amounts = [part["amount"] for part in told["contributions"]]
    assert told["estimate"] == served.predict(ROW).json["predictions"][0]["estimate"]
    assert told["base"] + sum(amounts) == pytest.approx(told["estimate"], rel=1e-9)


def test_an_explanation_of_a_wrong_row_names_the_field(served):
    answer = served.post({"instances": [{**ROW, "bedrooms": "three"}]}, "/explain")
    assert answer.status == 400
    assert answer.json["error"]["problems"][0]["path"] == "instances[0].bedrooms"
