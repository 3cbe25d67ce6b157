"""CSV rows: the contract's types, read strictly, and said as JSON says them."""

import json

import pytest

from hedonic.serving.csv_rows import CsvRows, decoded_csv, input_names, lines_of
from hedonic.serving.predictor import Predictor
from hedonic.serving.problems import RequestRefused
from hedonic.serving.table_rows import Unreadable, ask_about
from tests.tiny_release import ROW, tiny_contract, tiny_model

HEADER = "bedrooms,area,built,lake,quarter,garden,listed"
LINE = "3,1350.5,1950,false,Hill,200,2014-12-24"


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny_model())


def rows_of(text, **options):
    return list(CsvRows(tiny_contract(), lines_of(text), **options))


def test_a_row_is_the_instance_that_json_says():
    assert [json.loads(row) for row in rows_of(f"{HEADER}\n{LINE}\n")] == [ROW]


def test_columns_may_come_in_any_order_and_with_windows_line_ends_quotes_and_blank_lines():
    text = (
        'quarter,lake,area,bedrooms,built\r\n"Hill",FALSE,"1350.5",3,1950\r\n\r\n"Old Town",True,99e1,3,1950'
    )
    assert [json.loads(row) for row in rows_of(text)] == [
        {"quarter": "Hill", "lake": False, "area": 1350.5, "bedrooms": 3, "built": 1950},
        {"quarter": "Old Town", "lake": True, "area": 990.0, "bedrooms": 3, "built": 1950},
    ]


def test_a_quoted_line_end_is_part_of_its_value():
    assert json.loads(rows_of(f'{HEADER}\n3,1350.5,1950,false,"Hi\nll",200,\n')[0])["quarter"] == "Hi\nll"


def test_an_empty_value_is_missing():
    row = json.loads(rows_of(f"{HEADER}\n3,1350.5,1950,false,Hill,,\n")[0])
    assert "garden" not in row
    assert "listed" not in row


def test_without_a_header_the_columns_are_the_contracts_with_the_valuation_date_last():
    assert input_names(tiny_contract()) == (*HEADER.split(","), "valuation_date")
    assert json.loads(rows_of(f"{LINE}\n", header=False)[0]) == ROW
    dated = json.loads(rows_of(f"{LINE},2015-01-31\n", header=False)[0])
    assert dated == {**ROW, "valuation_date": "2015-01-31"}
    with pytest.raises(RequestRefused) as refusal:
        rows_of("3,1350.5\n", header=False)
    assert "must have the columns bedrooms, area, built" in refusal.value.listed[0].message


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("area", "007", 'must be a number; got "007"'),
        ("area", "+5", "must be a number"),
        ("area", " 1350.5", "must be a number"),
        ("area", "1,350.5", "must be a number"),
        ("area", "NaN", "must be a number"),
        ("area", "inf", "must be a number"),
        ("area", "0x10", "must be a number"),
        ("area", "\uff11\uff13\uff15\uff10", "must be a number"),
        ("area", "1e999", "must be"),
        ("bedrooms", "3.5", "must be an integer"),
        ("bedrooms", "three", "must be an integer"),
        ("bedrooms", "", "missing"),
        ("lake", "1", "must be true or false"),
        ("lake", "0", "must be true or false"),
        ("lake", "yes", "must be true or false"),
        ("quarter", " Hill", "must be one of"),
        ("listed", "24.12.2014", "must be a date"),
    ],
)
def test_what_is_not_of_its_type_is_a_problem_of_its_row_and_field(predictor, column, value, told):
    values = dict(zip(HEADER.split(","), LINE.split(","), strict=True)) | {column: value}
    line = ",".join(f'"{value}"' for value in values.values())
    with pytest.raises(RequestRefused) as refusal:
        ask_about(rows_of(f"{HEADER}\n{LINE}\n{line}\n"), 40, predictor.answer)
    (problem,) = refusal.value.problems
    assert problem.path == f"instances[41].{column}"
    assert told in problem.message


def test_the_columns_are_refused_all_at_once():
    with pytest.raises(RequestRefused) as refusal:
        rows_of("bedroms,area,area,lake,quarter\n1,2,3,4,5\n")
    assert {(problem.path, problem.message) for problem in refusal.value.problems} == {
        ("area", "a column of this name is there twice"),
        ("bedroms", "unknown column; did you mean 'bedrooms'?"),
        ("bedrooms", "the column is missing"),
        ("built", "the column is missing"),
    }


def test_a_row_with_too_many_or_too_few_values_is_named(predictor):
    rows = rows_of(f"{HEADER}\n{LINE}\n{LINE},7\n3,1\n")
    assert rows[1:] == [
        Unreadable("has 8 values; the table has 7 columns"),
        Unreadable("has 2 values; the table has 7 columns"),
    ]
    with pytest.raises(RequestRefused) as refusal:
        ask_about(rows, 0, predictor.answer)
    assert [problem.path for problem in refusal.value.problems] == ["instances[1]", "instances[2]"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the table is empty"),
        ("\n\n", "the table is empty"),
        (f"{HEADER}\n", "has a header and no row"),
        (f'{HEADER}\n3,"1350.5"x,1950,false,Hill,,\n', "line 2 is not CSV"),
        (f'{HEADER}\n3,"1350.5\n', "line 2 is not CSV"),
    ],
)
def test_what_is_no_table_is_refused(text, told):
    with pytest.raises(RequestRefused, match=told) as refusal:
        rows_of(text)
    assert refusal.value.code == "invalid_csv"


def test_a_table_is_utf_8_with_a_mark_or_without():
    assert decoded_csv("\ufeffé".encode()) == "é"
    with pytest.raises(RequestRefused, match="not UTF-8: byte 1 is 0xe9"):
        decoded_csv(b"x\xe9")
