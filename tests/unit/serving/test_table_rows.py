"""The rows of a JSON table: found one after the other, and asked about as /predict is asked."""

import json

import pytest

from hedonic.serving.predictor import Predictor
from hedonic.serving.problems import MAX_PROBLEMS, ProblemList, RequestRefused
from hedonic.serving.table_rows import ask_about, chunks, json_rows
from tests.tiny_release import ROW, tiny_model


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny_model())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
@pytest.mark.parametrize("indent", [None, 2])
def test_each_row_is_the_text_of_an_instance(encoding, indent):
    instances = [ROW, {"a": [1, {"b": '],}\\"'}], "é": "ü"}, 5, None, "x", []]
    body = json.dumps({"instances": instances}, indent=indent, ensure_ascii=False).encode(encoding)
    assert [json.loads(row) for row in json_rows(body)] == instances


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"", "invalid_json", "Expecting '{'"),
        (b"nul", "invalid_json", "Expecting value"),
        (b'{"instances":[{"a":1}', "invalid_json", "Expecting"),
        (b'{"instances":[{"a":1},]}', "invalid_json", "Expecting value"),
        (b'{"instances":[{"a":1} {"a":1}]}', "invalid_json", "Expecting"),
        (b'{"instances":[{"a":1}]}}', "invalid_json", "Extra data"),
        (b'{"instances":[{"a":1}]', "invalid_json", "Expecting"),
        (b'{"instances":' + b"[" * 200_000, "invalid_json", "nested too deep"),
        (b"\xff\xfe\xfd", "invalid_json", "not JSON"),
        (b"[]", "invalid_request", "1 problem"),
        (b'{"instances":{}}', "invalid_request", "1 problem"),
        (b'{"instances":[]}', "invalid_request", "1 problem"),
        (b'{"more":1,"instances":[{}]}', "invalid_request", "1 problem"),
        (b'{"instances":[{}],"more":1}', "invalid_request", "1 problem"),
        (b'{"instances":[{}],"instances":[{}]}', "invalid_request", "1 problem"),
    ],
)
def test_a_body_of_another_form_is_refused(body, code, told):
    with pytest.raises(RequestRefused, match=told) as refusal:
        list(json_rows(body))
    assert refusal.value.code == code


def test_rows_are_answered_as_they_are_answered_alone(predictor):
    instances = [{**ROW, "area": area} for area in (400, 900.5, 2000)]
    rows = list(json_rows(json.dumps({"instances": instances}).encode()))
    assert ask_about(rows, 0, predictor.answer) == predictor.predict(instances)


def test_a_problem_is_told_by_the_number_of_its_row_in_the_table(predictor):
    rows = [json.dumps(row) for row in (ROW, {**ROW, "area": "x"}, 5)]
    with pytest.raises(RequestRefused) as refusal:
        ask_about(rows, 1000, predictor.answer)
    assert [problem.path for problem in refusal.value.problems] == ["instances[1001].area", "instances[1002]"]


def test_a_field_given_twice_in_a_row_refuses_the_table(predictor):
    row = json.dumps(ROW)[:-1] + ', "area": 3}'
    with pytest.raises(RequestRefused, match="area|problem"):
        ask_about([row], 0, predictor.answer)


def test_the_first_problems_of_a_table_are_kept_and_all_are_counted(predictor):
    problems = ProblemList()
    rows = [json.dumps({**ROW, "area": "x", "lake": 1})] * (MAX_PROBLEMS + 100)
    for n, chunk in enumerate(chunks(rows, 5)):
        with pytest.raises(RequestRefused) as refusal:
            ask_about(chunk, 5 * n, predictor.answer)
        problems.add(refusal.value)
    told = problems.refusal()
    assert str(told) == f"the request has {2 * (MAX_PROBLEMS + 100)} problems"
    assert len(told.problems) == MAX_PROBLEMS + 1
    assert told.problems[-1].message == f"{MAX_PROBLEMS + 200} more problems are not listed"
