"""Answering a table: equal to /predict, refused whole, logged in parts, and in nobody's way."""

import asyncio
import csv
import io
import json

import pytest

from hedonic.serving.asgi import Exchange
from hedonic.serving.feedback import Feedback, Report
from hedonic.serving.observed_predictor import observed
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from hedonic.serving.predictor import load_release
from hedonic.serving.problems import RequestRefused
from hedonic.serving.responses import predict_response
from hedonic.serving.table_answering import Table, TableAnswering
from hedonic.serving.table_form import RESULT_COLUMNS
from hedonic.serving.table_parts import PART_ROWS, part_id, row_in_part
from tests.tiny_release import ROW, tiny_model, tiny_release

JSON, CSV = "application/json", "text/csv"
N_ROWS = 2 * PART_ROWS + 30
ROWS = [{**ROW, "area": 200.5 + n, "lake": n % 2 == 0} for n in range(N_ROWS)]


def csv_of(rows, header=True):
    text = io.StringIO()
    writer = csv.DictWriter(text, [*ROW])
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def json_of(rows):
    return json.dumps({"instances": rows}).encode()


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("releases")))


@pytest.fixture(scope="module")
def expected(release):
    return [release.predictor.predict([row])[0] for row in ROWS]


def answer(release, body, media_type=JSON, accept="", log=None, limit_s=None, exchange=None):
    table = Table(exchange or Exchange("POST", "/invocations"), media_type, accept, body)
    found = asyncio.run(TableAnswering(log).answer(table, release, limit_s))
    return found.status, found.media_type, b"".join(found.parts)


def test_json_and_csv_give_what_each_row_gives_alone(release, expected):
    for body, media_type in (
        (json_of(ROWS), JSON),
        (csv_of(ROWS), CSV),
        (csv_of(ROWS, False), f"{CSV}; header=absent"),
    ):
        status, kind, content = answer(release, body, media_type)
        assert (status, kind) == (200, JSON)
        assert json.loads(content)["predictions"] == expected


def test_a_table_that_predict_takes_too_gets_the_same_bytes(release):
    exchange = Exchange("POST", "/invocations")
    body = json_of(ROWS[:5])
    assert (
        answer(release, body, exchange=exchange)[2]
        == predict_response(release, JSON, body, exchange.request_id)[1]
    )
    assert (exchange.answered, exchange.release) == (True, release.model.release)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON), ("*/*", JSON), ("application/json", JSON), ("image/png", JSON), ("text/csv", CSV),
        ("text/*", CSV), ("text/csv;q=0.5, application/json;q=0.9", JSON),
        ("application/json;q=0.5, text/csv", CSV), ("text/csv;q=0, */*", JSON),
        ("Text/CSV; charset=utf-8", CSV), ("text/csv;q=x", JSON), ("application/json, text/csv", JSON),
    ],
)  # fmt: skip
def test_the_caller_chooses_the_form_of_the_answer(release, accept, kind):
    assert answer(release, json_of([ROW]), accept=accept)[1].partition(";")[0] == kind


def test_csv_gives_the_same_numbers_a_line_a_row(release, expected):
    _, kind, content = answer(release, csv_of(ROWS), CSV, "text/csv")
    assert kind == "text/csv; charset=utf-8; header=present"
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    assert tuple(lines[0]) == RESULT_COLUMNS
    assert [float(line["estimate"]) for line in lines] == [row["estimate"] for row in expected]
    assert [[float(line["low_80"]), float(line["high_80"])] for line in lines] == [
        r["interval_80"] for r in expected
    ]
    assert [[float(line["low_90"]), float(line["high_90"])] for line in lines] == [
        r["interval_90"] for r in expected
    ]
    assert [line["confidence_grade"] for line in lines] == [row["confidence"]["grade"] for row in expected]
    assert [line["warnings"] for line in lines] == ["; ".join(row["warnings"]) for row in expected]


def test_a_table_without_a_header_gets_an_answer_without_one(release):
    status, kind, content = answer(release, csv_of(ROWS[:3], False), "text/csv; header=absent", "text/csv")
    assert (status, kind) == (200, "text/csv; charset=utf-8; header=absent")
    assert len(content.splitlines()) == 3
    assert float(content.partition(b",")[0]) == release.predictor.predict(ROWS[:1])[0]["estimate"]


def test_every_problem_of_the_table_is_told_and_nothing_is_answered(release, tmp_path):
    log = PredictionLog.open(str(tmp_path / "log.db"), "durable")
    rows = [*ROWS, {**ROW, "area": "x"}, *ROWS, {**ROW, "lake": None}]
    status, _, content = answer(release, json_of(rows), log=log)
    log.close()
    error = json.loads(content)["error"]
    assert (status, error["code"], error["message"]) == (400, "invalid_request", "the request has 2 problems")
    assert [problem["path"] for problem in error["problems"]] == [
        f"instances[{N_ROWS}].area",
        f"instances[{2 * N_ROWS + 1}].lake",
    ]
    assert log.recorded == 0


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"{", JSON, 400, "invalid_json"),
        (b"", CSV, 400, "invalid_csv"),
        (b"\xff\xff", CSV, 400, "invalid_csv"),
        (csv_of(ROWS), "text/csv; charset=latin-1", 415, "unsupported_media_type"),
        (csv_of(ROWS), "text/csv; header=maybe", 415, "unsupported_media_type"),
        (json_of(ROWS), "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_faults_of_the_caller_have_the_shape_of_every_error(release, body, media_type, status, code):
    found, kind, content = answer(release, body, media_type)
    assert (found, kind, json.loads(content)["error"]["code"]) == (status, JSON, code)


def test_the_rows_are_logged_in_parts_of_which_each_is_a_request_and_its_answer(release, expected, tmp_path):
    exchange, log = Exchange("POST", "/invocations"), PredictionLog.open(str(tmp_path / "log.db"), "durable")
    assert answer(release, csv_of(ROWS), CSV, log=log, exchange=exchange)[0] == 200
    log.close()
    store = PredictionLogStore(str(tmp_path / "log.db"))
    for first in range(0, N_ROWS, PART_ROWS):
        found = store.rows(part_id(exchange.request_id, first))
        assert [entry.estimate for entry in found] == [
            row["estimate"] for row in expected[first : first + PART_ROWS]
        ]
        assert [entry.inputs for entry in found] == ROWS[first : first + PART_ROWS]
    report = Feedback(store).record(Report(exchange.request_id, 1e5, row=N_ROWS - 1))
    assert report.known
    last = part_id(exchange.request_id, N_ROWS - 1)
    assert Feedback(store).prices(last, row_in_part(N_ROWS - 1)) == (1e5,)
    with pytest.raises(RequestRefused) as refusal:
        Feedback(store).record(Report(exchange.request_id, 1e5, row=N_ROWS))
    assert refusal.value.listed[0].path == "row"


def test_in_durable_mode_a_table_that_cannot_be_logged_is_not_answered(release):
    class Full:
        url = "a store that is full"

        def append(self, batch):
            raise StoreUnavailable("full")

        def close(self):
            pass

    log = PredictionLog(Full(), "durable", patience_s=0.1)
    status, _, content = answer(release, json_of(ROWS), log=log)
    log.close()
    assert (status, json.loads(content)["error"]["code"]) == (503, "log_unavailable")


def test_every_estimate_is_counted(release):
    seen = []
    counted = observed(release, lambda _, predictions: seen.extend(predictions))
    answer(counted, json_of(ROWS))
    assert len(seen) == N_ROWS


def test_an_answer_that_takes_too_long_says_what_to_do_instead(release):
    status, _, content = answer(release, json_of(ROWS), limit_s=0.0)
    error = json.loads(content)["error"]
    assert (status, error["code"]) == (503, "overloaded")
    assert "POST /score/submit" in error["message"]


def test_our_own_fault_is_opaque(tmp_path):
    broken = load_release(tiny_release(tmp_path, tiny_model()))

    def fail(_body):
        raise ZeroDivisionError("a secret")

    broken.predictor.answer = fail
    status, _, content = answer(broken, json_of(ROWS))
    assert (status, json.loads(content)["error"]["code"]) == (500, "internal_error")
    assert b"secret" not in content


def test_others_have_their_turn_between_any_two_chunks(release):
    async def beside():
        table = Table(Exchange("POST", "/invocations"), JSON, "", json_of(ROWS))
        answering = asyncio.create_task(TableAnswering().answer(table, release))
        turns = 0
        while not answering.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    n_chunks = N_ROWS / release.predictor.schema.max_rows
    assert asyncio.run(beside()) >= 4 * n_chunks
