"""Rows read all at once: what reading them value by value gives, or nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.data.contract_file import load_contract
from hedonic.serving.field_table import FieldTable
from hedonic.serving.fields import NAN, NumberField
from hedonic.serving.schema import VALUATION_DATE, RequestSchema
from tests.project import ROOT
from tests.tiny_release import LAST_DAY, ROW, tiny_contract

SCHEMA = RequestSchema(tiny_contract(), LAST_DAY)
FIELDS = SCHEMA._fields
TABLE = FieldTable(FIELDS, {VALUATION_DATE: LAST_DAY})

ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 3.0, 3.5, 1e308, math.nan, math.inf, -math.inf, 10**17, 10**400, 2**53,
     "", "Hill", "hill", "Old Town", "2015-01-01", "2015-13-01", "200", [], {}, 99.99, 100, 10, 11]
)  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from([*FIELDS, "colour"]), ODD, max_size=3)
INSTANCES = st.builds(
    lambda changes, without: {
        name: value for name, value in {**ROW, **changes}.items() if name not in without
    },
    CHANGES,
    st.sets(st.sampled_from([*FIELDS]), max_size=1),
)
ROWS = st.lists(st.one_of(INSTANCES, st.just(ROW), st.just(7)), min_size=1, max_size=4)


def plain(values):
    """Return values by field, in a form in which NaN equals itself."""
    return {name: [repr(value) for value in column] for name, column in values.items()}


@settings(max_examples=600)
@given(ROWS)
def test_what_is_read_at_once_is_what_is_read_value_by_value(rows):
    problems = []
    wanted = SCHEMA._values(rows, problems)
    read = TABLE.read(rows)
    if problems:
        assert read is None
    elif read is not None:
        floats = {n: [float(v) if FIELDS[n].numeric else v for v in column] for n, column in read.items()}
        assert plain(floats) == plain(wanted)


def test_rows_as_callers_send_them_are_read_at_once():
    rows = [ROW, {**ROW, VALUATION_DATE: "2015-01-31", "garden": None}, {**ROW, "bedrooms": 3.0, "area": 900}]
    read = TABLE.read(rows)
    assert read["bedrooms"] == (3, 3, 3.0)
    assert read["quarter"] == ["Hill", "Hill", "Hill"]
    assert plain({"garden": read["garden"]}) == plain({"garden": [200.0, NAN, 200.0]})
    assert read[VALUATION_DATE] == [LAST_DAY, 16466.0, LAST_DAY]


@pytest.mark.parametrize("dataset", ["king_county", "california"])
def test_the_example_of_a_real_contract_is_read_at_once(dataset):
    schema = RequestSchema(load_contract(ROOT / "expectations" / f"{dataset}.yaml"))
    assert schema._table.read([schema.example()]) is not None


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "lake": 1},
        {**ROW, "area": True},
        {**ROW, "bedrooms": False},
        {**ROW, "bedrooms": 3.5},
        {**ROW, "bedrooms": math.nan},
        {**ROW, "area": math.nan},
        {**ROW, "area": 10**400},
        {**ROW, "area": 99.99},
        {**ROW, "area": 10_000.5},
        {**ROW, "quarter": "Harbour"},
        {**ROW, "quarter": None},
        {**ROW, "garden": "200"},
        {**ROW, "colour": "red"},
        {**ROW, "colour": "red", "garden": None},
        {name: value for name, value in ROW.items() if name != "built"},
        [ROW],
    ],
)
def test_a_row_with_a_problem_leaves_all_rows_to_be_read_value_by_value(row):
    assert TABLE.read([ROW, row]) is None


@pytest.mark.parametrize("names", [["area"], ["garden"], []])
def test_fields_of_any_number_are_read(names):
    table = FieldTable({name: FIELDS[name] for name in names}, {})
    row = {name: ROW[name] for name in names}
    assert table.read([row, row]) is not None
    assert table.read([ROW]) is None


@pytest.mark.parametrize("integer", [True, False])
def test_numbers_whose_floats_are_not_exact_are_read_value_by_value(integer):
    """2**53 + 1 as a float is 2**53, which is within these bounds."""
    table = FieldTable({"area": NumberField("area", True, integer, None, 2.0**53)}, {})
    assert table.read([{"area": 2**53 + 1}]) is None
    assert table.read([{"area": 2**53 - 1}]) == {"area": (2**53 - 1,)}
