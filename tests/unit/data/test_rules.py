import ast
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.data.rules import RowRule

NUMBERS = st.floats(min_value=-1e6, max_value=1e6)


def holds(text: str, **columns: list[float]) -> list[bool]:
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    return RowRule.parse(text).holds(arrays).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", [True, False, False]),
        ("a <= b", [True, True, False]),
        ("a == b", [False, True, False]),
        ("a != b", [True, False, True]),
        ("a >= b", [False, True, True]),
        ("a > b", [False, False, True]),
        ("not a > b", [True, True, False]),
        ("a < b or a > b", [True, False, True]),
        ("a <= b and a >= b", [False, True, False]),
        ("0 < a < b", [True, False, False]),
        ("a + 1 == b * 2 - 3 / 1", [False, False, False]),
        ("-a < -b", [False, False, True]),
        ("(a + b) / 2 == 2", [False, True, True]),
    ],
)
def test_a_rule_means_what_it_says(text: str, expected: list[bool]) -> None:
    assert holds(text, a=[1, 2, 3], b=[4, 2, 1]) == expected


def test_a_rule_knows_its_columns() -> None:
    rule = RowRule.parse("yr_renovated == 0 or yr_renovated >= yr_built")
    assert rule.columns == {"yr_renovated", "yr_built"}


def test_a_comparison_with_a_missing_value_holds() -> None:
    assert holds("a <= b", a=[np.nan, 5, np.nan], b=[1, np.nan, np.nan]) == [True, True, True]


def test_only_the_comparison_with_the_missing_value_is_forgiven() -> None:
    assert holds("a <= b and a <= 3", a=[5, 2], b=[np.nan, np.nan]) == [False, True]


def test_division_by_zero_is_an_infinity_and_no_error() -> None:
    assert holds("a / b <= 10", a=[1, -1], b=[0, 0]) == [False, True]


def test_zero_by_zero_is_missing_and_holds() -> None:
    assert holds("a / b <= 10", a=[0], b=[0]) == [True]


def test_a_rule_over_no_rows_gives_no_answers() -> None:
    assert holds("a <= b", a=[], b=[]) == []


def test_a_rule_reads_booleans_and_integers_as_numbers() -> None:
    columns = {"waterfront": np.array([True, False]), "view": np.array([0, 0], dtype=np.int64)}
    assert RowRule.parse("waterfront == 0 or view >= 1").holds(columns).tolist() == [False, True]


@given(a=st.lists(NUMBERS, min_size=1, max_size=20), shift=NUMBERS)
def test_a_rule_agrees_with_python_row_by_row(a: list[float], shift: float) -> None:
    text = "a * 2 - shift <= 3 or not a < shift and a != 7"
    expected = [value * 2 - shift <= 3 or (not value < shift and value != 7) for value in a]
    assert holds(text, a=a, shift=[shift] * len(a)) == expected


@given(a=st.lists(NUMBERS, min_size=2, max_size=20))
def test_each_row_is_judged_by_itself(a: list[float]) -> None:
    assert holds("a >= 3", a=a[::-1]) == holds("a >= 3", a=a)[::-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <", r"rule 'a <': invalid syntax at character"),
        ("", "invalid syntax"),
        ("a", "'a' is not a condition"),
        ("a + 1", "'a \\+ 1' is not a condition"),
        ("a < (b < c)", "'b < c' is not a number"),
        ("abs(a) < 1", r"'abs\(a\)' is not a number"),
        ("__import__('os').system('true') == 0", "is not a number"),
        ("a.b == 1", "'a.b' is not a number"),
        ("a[0] == 1", "is not a number"),
        ("a ** 9 < 1", r"'a \*\* 9' is not a number"),
        ("a % 2 == 0", "'a % 2' is not a number"),
        ("a // 2 == 0", "'a // 2' is not a number"),
        ("a in b", "'a in b' is not a condition"),
        ("a is b", "'a is b' is not a condition"),
        ("a == 'x'", "is not a number"),
        ("a == True", "write 1 or 0 for true or false"),
        ("a == None", "is not a number"),
        ("(lambda: 1)() == 1", "is not a number"),
        ("[x for x in a] == 1", "is not a number"),
        ("a if b else c", "is not a condition"),
        ("not a", "'a' is not a condition"),
        ("a < b and 1", "'1' is not a condition"),
        ("a := 1", "invalid syntax"),
        ("a < 1; b < 2", "invalid syntax"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_by_its_part(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RowRule.parse(text)


def test_a_refusal_states_the_grammar() -> None:
    with pytest.raises(ValueError, match=r"a rule may use column names, numbers, \+ - \* /, comparisons"):
        RowRule.parse("sqrt(a) < 1")


def test_a_missing_value_lets_a_row_pass_under_not_as_well():
    rule = RowRule.parse("not (0 < a < b)")
    columns = {"a": np.array([np.nan, 1.0, 5.0]), "b": np.array([3.0, 3.0, 3.0])}
    assert rule.holds(columns).tolist() == [True, False, True]


# ---- one row of floats

SPECIAL = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 1e308, 5e-324])
ANY_NUMBER = SPECIAL | st.floats() | st.integers(-5, 5).map(float)
TERMS = st.recursive(
    st.sampled_from(["a", "b", "c", "0", "2", "0.5", "1e308"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=5,
)
OPERATORS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
CONDITIONS = st.recursive(
    st.builds("{} {} {}".format, TERMS, OPERATORS, TERMS)
    | st.builds("{} {} {} {} {}".format, TERMS, OPERATORS, TERMS, OPERATORS, TERMS),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not ({}))".format, inner),
    ),
    max_leaves=5,
)


COMPARE = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def reference(node, row, negated=False):
    """Return what a rule means for a row, by the letter of ``RowRule``'s description."""
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [reference(value, row, negated) for value in values]
            return all(parts) if isinstance(op, ast.And) != negated else any(parts)
        case ast.UnaryOp(operand=operand):
            return reference(operand, row, not negated)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [number(side, row) for side in (left, *comparators)]
            parts = [
                bool(math.isnan(a) or math.isnan(b) or COMPARE[type(op)](a, b) != negated)
                for op, a, b in zip(ops, sides, sides[1:], strict=False)
            ]
            return any(parts) if negated else all(parts)


def number(node, row):
    with np.errstate(all="ignore"):
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                operate = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
                return operate[type(op)](number(left, row), number(right, row))
            case ast.UnaryOp(operand=operand):
                return -number(operand, row)
            case ast.Name(id=name):
                return np.float64(row[name])
            case ast.Constant(value=value):
                return np.float64(value)


@settings(max_examples=1500)
@given(CONDITIONS, st.lists(st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER), min_size=1, max_size=4))
def test_a_rule_of_one_row_is_the_rule_of_many_and_both_mean_what_they_say(text, rows):
    rule = RowRule.parse(text)
    columns = dict(zip("abc", np.array(rows).T, strict=True))
    together = np.broadcast_to(rule.holds(columns), (len(rows),)).tolist()
    singles = [dict(zip("abc", row, strict=True)) for row in rows]
    assert [rule.holds_for(row) for row in singles] == together
    assert [reference(rule.tree, row) for row in singles] == together


@pytest.mark.parametrize("a", [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("b", [0.0, -0.0])
def test_floats_are_divided_by_zero_as_arrays_are(a, b):
    for text in ("a / b > 0", "a / b < 0", "not a / b > 0"):
        rule = RowRule.parse(text)
        assert rule.holds_for({"a": a, "b": b}) == rule.holds({"a": np.array([a]), "b": np.array([b])})[0]


def test_an_answer_about_one_row_is_a_bool():
    assert RowRule.parse("a < 1").holds_for({"a": 0.0}) is True
    assert RowRule.parse("not a < 1 and a > 0").holds_for({"a": 0.0}) is False


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(ValueError, match="a number in it is too large for a float"):
        RowRule.parse(f"a < {'9' * 400}")


@pytest.mark.parametrize("tree", ["a", "a < f(b)"])
def test_a_tree_that_was_not_checked_is_an_error_of_ours(tree):
    with pytest.raises(AssertionError, match="unchecked rule node"):
        RowRule(tree, ast.parse(tree, mode="eval").body, frozenset())
