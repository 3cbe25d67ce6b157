"""The request schema that follows from a contract."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hedonic.data.contract_file import load_contract
from hedonic.serving.problems import RequestRefused
from hedonic.serving.schema import FEW_ROWS, RequestSchema
from tests.tiny_release import CONTRACT, LAST_DAY, ROW, tiny_columns, tiny_contract

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def schema():
    return RequestSchema(tiny_contract(), LAST_DAY)


def problems(schema, *rows):
    with pytest.raises(RequestRefused) as refused:
        schema.check(rows)
    return {problem.path: problem.message for problem in refused.value.problems}


def problem(schema, name, value):
    found = problems(schema, {**ROW, name: value})
    assert list(found) == [f"instances[0].{name}"]
    return found[f"instances[0].{name}"]


def test_a_row_becomes_the_columns_that_training_makes(schema):
    rows = schema.check([ROW, {**ROW, "garden": None, "valuation_date": "2015-01-31"}])
    wanted = tiny_columns(
        {**ROW, "valuation_date": "2015-03-06"}, {**ROW, "garden": None, "valuation_date": "2015-01-31"}
    )
    assert rows.columns.keys() == wanted.keys()
    for name, values in wanted.items():
        assert rows.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(rows.columns[name], values)


def test_inputs_that_may_be_missing_may_be_left_out_or_null(schema):
    left_out = {name: value for name, value in ROW.items() if name not in ("garden", "listed")}
    rows = schema.check([left_out, {**ROW, "garden": None, "listed": None, "valuation_date": None}])
    assert np.isnan(rows.columns["garden"]).all()
    assert np.isnan(rows.columns["listed"]).all()
    assert rows.columns["sold"].tolist() == [LAST_DAY, LAST_DAY]


@pytest.mark.parametrize("value", ["3", True, False, None, [3], {"is": 3}, 3.5])
def test_an_integer_takes_integers_alone(schema, value):
    assert problem(schema, "bedrooms", value).startswith(("must be an integer; got", "must not be null"))


def test_an_integer_written_as_3_point_0_is_the_integer_3(schema):
    assert schema.check([{**ROW, "bedrooms": 3.0}]).columns["bedrooms"].tolist() == [3.0]


@pytest.mark.parametrize("value", ["2000", True, None])
def test_a_number_takes_numbers_alone(schema, value):
    assert problem(schema, "area", value).startswith(("must be a number; got", "must not be null"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
@pytest.mark.parametrize("name", ["area", "bedrooms", "garden"])
def test_what_is_not_finite_is_refused(schema, name, value):
    assert problem(schema, name, value).startswith("must be a finite number")


def test_bounds_are_those_of_the_contract(schema):
    assert problem(schema, "bedrooms", 11) == "must be at most 10; got 11"
    assert problem(schema, "area", 99.5) == "must be at least 100; got 99.5"
    schema.check([{**ROW, "bedrooms": 10}, {**ROW, "area": 10_000.0}])


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_boolean_takes_true_and_false_alone(schema, value):
    assert problem(schema, "lake", value) in (
        f"must be true or false; got {json.dumps(value)}",
        "must not be null",
    )


@pytest.mark.parametrize("value", ["hill", "HILL", "Hill"])
def test_a_category_is_taken_in_any_case_and_kept_as_the_contract_has_it(schema, value):
    assert schema.check([{**ROW, "quarter": value}]).columns["quarter"].tolist() == ["Hill"]


@pytest.mark.parametrize("value", ["Harbour", " Hill", "", 3, None])
def test_a_category_that_is_not_listed_is_refused(schema, value):
    assert problem(schema, "quarter", value).startswith(
        ("must be one of Old Town, Hill; got", "must be a text in quotes; got", "must not be null")
    )


@pytest.mark.parametrize(
    "value", ["2014-13-01", "2014-1-1", "20140101", "2014-W01-1", "2014-01-01T00:00", 16000]
)
@pytest.mark.parametrize("name", ["listed", "valuation_date"])
def test_a_date_is_an_iso_date(schema, name, value):
    assert problem(schema, name, value).startswith("must be a date")


def test_the_target_the_id_and_the_time_column_are_unknown_fields(schema):
    found = problems(schema, {**ROW, "price": 1, "id": 2, "sold": "2015-01-01"})
    assert set(found) == {"instances[0].price", "instances[0].id", "instances[0].sold"}


def test_an_unknown_field_is_refused_with_the_one_that_was_meant(schema):
    found = problems(schema, {**ROW, "bedroms": 3})
    assert found == {"instances[0].bedroms": "unknown field; did you mean 'bedrooms'?"}


def test_a_rule_says_nothing_about_a_date_that_is_wrong_already(schema):
    row = {**ROW, "built": 2020}
    assert list(problems(schema, {**row, "valuation_date": "tomorrow"})) == ["instances[0].valuation_date"]
    assert list(problems(schema, row)) == ["instances[0]"]  # the default is too early for it


def test_fields_that_are_given_twice_are_named_with_their_paths(schema):
    row = json.dumps(ROW)
    body = f'{{"instances": [{row}, {row[:-1]}, "area": 1, "lake": true}}], "instances": []}}'
    with pytest.raises(RequestRefused, match="twice in one object") as refused:
        schema.read(body.encode())
    assert refused.value.code == "invalid_json"
    assert [problem.path for problem in refused.value.problems] == ["instances"]
    with pytest.raises(RequestRefused, match=r'"instances\[1\]\.area" twice in one object') as refused:
        schema.read(body.removesuffix(', "instances": []}').encode() + b"}")
    assert [problem.path for problem in refused.value.problems] == [
        "instances[1].area", "instances[1].lake",
    ]  # fmt: skip


def test_an_integer_without_bounds_has_those_of_what_is_exact():
    columns = [{**c} for c in CONTRACT["columns"]]
    for column in columns:
        if column["name"] == "bedrooms":
            del column["minimum"], column["maximum"]
    unbounded = RequestSchema(tiny_contract(columns=columns, rules=[]))
    told = unbounded.json_schema()["properties"]["instances"]["items"]["properties"]["bedrooms"]
    assert (told["minimum"], told["maximum"]) == (-(2**53), 2**53)
    assert unbounded.check([{**ROW, "bedrooms": told["minimum"]}]).numbers[0] == -(2.0**53)
    assert list(problems(unbounded, {**ROW, "bedrooms": told["maximum"] + 2})) == ["instances[0].bedrooms"]


def test_a_data_set_without_time_knows_no_valuation_date():
    contract = load_contract(ROOT / "expectations" / "california.yaml")
    schema = RequestSchema(contract)
    with pytest.raises(RequestRefused, match="1 problem"):
        schema.check([{**schema.example(), "valuation_date": "2015-01-01"}])


def test_every_problem_of_every_row_is_told_at_once(schema):
    found = problems(schema, {**ROW, "bedrooms": "3", "lake": 1}, 7, ROW, {"area": 50, "colour": "red"})
    assert set(found) == {
        "instances[0].bedrooms", "instances[0].lake", "instances[1]", "instances[3].bedrooms",
        "instances[3].area", "instances[3].built", "instances[3].lake", "instances[3].quarter",
        "instances[3].colour",
    }  # fmt: skip
    assert found["instances[3].built"] == "missing"


def test_many_problems_are_listed_up_to_a_limit_that_says_so(schema):
    row = {**ROW, **{f"field_{n}": 0 for n in range(1200)}}
    with pytest.raises(RequestRefused, match="1200 problems") as refused:
        schema.check([row])
    assert len(refused.value.problems) == 1001
    assert refused.value.problems[-1].message == "200 more problems are not listed"


def test_a_broken_rule_is_a_problem_of_its_row(schema):
    found = problems(schema, ROW, {**ROW, "bedrooms": 5, "area": 200})
    rule = "bedrooms == 0 or area / bedrooms >= 50"
    assert found == {"instances[1]": f"A bedroom has 50 sqft (rule room-for-bedrooms: {rule})"}


def test_a_rule_about_the_date_holds_against_the_valuation_date_and_its_default(schema):
    assert list(problems(schema, {**ROW, "built": 2020})) == ["instances[0]"]
    schema.check([{**ROW, "built": 2020, "valuation_date": "2021-01-01"}])


def test_a_weak_rule_is_a_warning_and_a_note_is_nothing(schema):
    rows = schema.check([{**ROW, "bedrooms": 0}, {**ROW, "area": 149.0, "lake": True, "bedrooms": 1}])
    assert [len(warnings) for warnings in rows.warnings] == [1, 0]
    assert "A house without bedrooms is odd" in rows.warnings[0][0]


def test_rules_pass_over_values_that_have_a_problem_of_their_own(schema):
    assert list(problems(schema, {**ROW, "bedrooms": "5", "area": 200})) == ["instances[0].bedrooms"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "invalid_json", "not JSON"),
        (b"{", "invalid_json", "not JSON"),
        (b"\xff\xfe", "invalid_json", "not JSON"),
        (b"[" * 100_000, "invalid_json", "nested too deep"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "invalid_json", "not JSON"),
        (b'{"instances": [], "instances": []}', "invalid_json", 'gives the field "instances" twice'),
        (b"[]", "invalid_request", "1 problem"),
        (b"{}", "invalid_request", "1 problem"),
        (b'{"instances": {}}', "invalid_request", "1 problem"),
        (b'{"instances": []}', "invalid_request", "1 problem"),
        (b'{"instances": [1, 2, 3, 4, 5, 6]}', "invalid_request", "1 problem"),
    ],
)
def test_a_body_that_is_no_request_is_refused(schema, body, code, message):
    with pytest.raises(RequestRefused, match=message) as refused:
        schema.read(body)
    assert refused.value.code == code


def test_problems_of_the_body_and_of_its_rows_are_told_together(schema):
    body = json.dumps({"instances": [{**ROW, "area": "big"}], "verbose": True}).encode()
    with pytest.raises(RequestRefused) as refused:
        schema.read(body)
    assert [problem.path for problem in refused.value.problems] == ["verbose", "instances[0].area"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_named_by_their_field(schema, literal):
    body = json.dumps({"instances": [{**ROW, "area": 0}]}).replace('"area": 0', f'"area": {literal}')
    with pytest.raises(RequestRefused) as refused:
        schema.read(body.encode())
    assert [problem.path for problem in refused.value.problems] == ["instances[0].area"]


@pytest.mark.parametrize("dataset", ["king_county", "california"])
def test_the_example_of_a_real_contract_is_a_good_request(dataset):
    schema = RequestSchema(load_contract(ROOT / "expectations" / f"{dataset}.yaml"))
    document = schema.json_schema()
    rows = schema.check(document["example"]["instances"])
    assert len(rows.warnings) == 1
    item = document["properties"]["instances"]["items"]
    assert set(item["required"]) <= set(document["example"]["instances"][0]) <= set(item["properties"])


def test_the_json_schema_says_what_the_contract_says(schema):
    item = schema.json_schema()["properties"]["instances"]["items"]
    assert item["additionalProperties"] is False
    assert item["required"] == ["bedrooms", "area", "built", "lake", "quarter"]
    assert item["properties"]["bedrooms"] == {
        "type": "integer", "minimum": 0, "maximum": 10, "description": "Bedrooms",
    }  # fmt: skip
    assert item["properties"]["quarter"]["enum"] == ["Old Town", "Hill"]
    assert item["properties"]["garden"]["type"] == ["number", "null"]
    assert item["properties"]["valuation_date"]["format"] == "date"
    assert schema.json_schema()["properties"]["instances"]["maxItems"] == 5


def test_categories_that_differ_by_case_alone_are_told_apart():
    columns = [c if c["name"] != "quarter" else {**c, "categories": ["ab", "AB", "c"], "example": "ab"}
               for c in tiny_contract().model_dump(mode="json")["columns"]]  # fmt: skip
    schema = RequestSchema(tiny_contract(columns=columns), LAST_DAY)
    rows = schema.check([{**ROW, "quarter": quarter} for quarter in ("ab", "AB", "C")])
    assert rows.columns["quarter"].tolist() == ["ab", "AB", "c"]
    assert set(problems(schema, {**ROW, "quarter": "Ab"})) == {"instances[0].quarter"}


def test_many_rows_break_the_rules_that_their_rows_break_alone():
    schema = RequestSchema(tiny_contract(), LAST_DAY)
    rows = [ROW, {**ROW, "bedrooms": 0}, {**ROW, "bedrooms": 5, "area": 200}, {**ROW, "built": 2020}] * 6
    assert len(rows) > FEW_ROWS
    alone = [problems(schema, row) for row in rows[2:4]]
    together = problems(schema, *rows)
    assert len(together) == 12
    assert [together[f"instances[{n}]"] for n in (2, 3)] == [found["instances[0]"] for found in alone]
    sound = [row for row in rows if row["built"] < 2000 and row["area"] > 200]
    assert schema.check(sound).warnings == [schema.check([row]).warnings[0] for row in sound]
    assert schema.check([ROW] * 24).warnings == [[]] * 24
