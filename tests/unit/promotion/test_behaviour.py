"""Directions, invariances and golden rows: each fires on a model that breaks it, and is silent otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hedonic.data.behaviour_policy import Change, GoldenRow
from hedonic.promotion.behaviour import behaviour_findings, change_rows
from tests.contracts import CAR_COLUMNS, contract_of

TIMED = [*CAR_COLUMNS, {"name": "sold", "type": "date", "role": "time"}]


def cars(**gate):
    columns = [
        {**column, "minimum": 0, "maximum": 15} if column["name"] == "age" else column for column in TIMED
    ]
    columns.append({"name": "doors", "type": "integer", "minimum": 2, "maximum": 5})
    columns.append({"name": "note", "type": "text", "nullable": True})
    return contract_of("cars", columns, gate={"limits": [], **gate})


def rows(n=100):
    return {
        "price": np.full(n, 9000.0),
        "age": np.linspace(0, 12, n),
        "mileage": np.where(np.arange(n) % 10 == 3, np.nan, 1000.0 * np.arange(n)),
        "make": np.array([None if k % 20 == 7 else "Fiat" for k in range(n)], dtype=object),
        "electric": np.zeros(n),
        "sold": np.full(n, 16_500.0),
        "doors": np.tile([2.0, 3.0, 4.0, 5.0], n // 4),
        "note": np.array([None] + ["quiet"] * (n - 1), dtype=object),
    }


def price(columns):
    """Prices that fall by a tenth a year, and are doubled for a Saab."""
    return np.exp(10 - 0.1 * columns["age"]) * np.where(columns["make"] == "Saab", 2.0, 1.0)


def found(contract, columns=None, model=price):
    (only,) = behaviour_findings(contract, columns or rows(), model)
    return only


def direction(changes, effect):
    return cars(directions=[{"name": "check", "changes": changes, "effect": effect}])


def invariance(changes, **bounds):
    return cars(invariances=[{"name": "check", "changes": changes, **bounds}])


def test_a_contract_that_declares_nothing_asks_nothing():
    def forbidden(_):
        raise AssertionError

    assert behaviour_findings(cars(), rows(), forbidden) == []


@pytest.mark.parametrize(
    ("effect", "outcome", "must"),
    [("not_higher", "passed", "not raise"), ("not_lower", "issue", "not lower")],
)
def test_an_effect_in_the_wrong_direction_is_an_issue(effect, outcome, must):
    one = found(direction({"age": {"add": 2}}, effect))
    assert (one.check, one.outcome, one.limit) == ("direction:check", outcome, 0.0)
    assert one.value == pytest.approx(-0.2)
    told = f"age + 2 changes the estimate by -18.13 % on average of 100 rows; it must {must} it"
    assert one.sentence == told


@pytest.mark.parametrize("effect", ["not_higher", "not_lower"])
def test_no_effect_at_all_is_right_either_way(effect):
    one = found(direction({"electric": {"to": True}}, effect))
    assert (one.outcome, one.value) == ("passed", 0.0)
    assert one.sentence.startswith("electric = True changes the estimate by +0.00 % on average of 100 rows")


@pytest.mark.parametrize("effect", ["not_higher", "not_lower"])
def test_an_effect_that_is_not_a_number_is_an_issue(effect):
    one = found(direction({"age": {"add": 1}}, effect), model=lambda c: np.full(len(c["age"]), math.nan))
    assert (one.outcome, one.value) == ("issue", None)


@pytest.mark.parametrize(("effect", "outcome"), [("not_higher", "issue"), ("not_lower", "passed")])
def test_an_estimate_that_rises_a_little_is_higher(effect, outcome):
    one = found(direction({"age": {"add": -2}}, effect))
    assert (one.outcome, one.value) == (outcome, pytest.approx(0.2))


def test_the_direction_is_that_of_the_mean_and_not_of_every_row():
    def mixed(columns):
        return np.exp(np.where(columns["doors"] == 3, -2.0, 1.0) * columns["age"])

    assert found(direction({"age": {"add": 1}}, "not_lower"), model=mixed).outcome == "passed"


@pytest.mark.parametrize(("shift", "outcome"), [(0.5, "passed"), (0.6, "issue")])
def test_an_estimate_may_change_up_to_the_tolerance(shift, outcome):
    def step(columns):
        return np.exp(columns["age"] * 0.0 + np.where(columns["sold"] > 16_500, shift, 0.0))

    one = found(invariance({"sold": {"add": 1}}, tolerance=0.5), model=step)
    assert (one.check, one.outcome, one.limit) == ("invariance:check", outcome, 0.0)
    assert one.value == (0.0 if outcome == "passed" else 1.0)
    percent = "0.00" if outcome == "passed" else "100.00"
    assert one.sentence == f"sold + 1 changes {percent} % of 100 estimates by more than 50 %; 0 % may"


@pytest.mark.parametrize(("share", "outcome"), [(0.25, "passed"), (0.24, "issue")])
def test_a_stated_share_of_estimates_may_change_by_more(share, outcome):
    def uneven(columns):
        return np.where((columns["doors"] == 2) & (columns["make"] == "Saab"), 2.0, 1.0)

    contract = invariance({"make": {"to": "Saab"}}, tolerance=0.1, share=share)
    columns = {**rows(), "make": np.full(100, "Fiat", dtype=object)}
    one = found(contract, columns, uneven)
    assert (one.outcome, one.value, one.limit) == (outcome, 0.25, share)
    told = f"make = Saab changes 25.00 % of 100 estimates by more than 10 %; {100 * share:g} % may"
    assert one.sentence == told


def test_a_change_either_way_counts_and_none_is_needed_to_be_invariant():
    halved = found(
        invariance({"sold": {"add": 1}}, tolerance=0.5), model=lambda c: np.exp(16_500 - c["sold"])
    )
    assert halved.outcome == "issue"
    assert found(invariance({"electric": {"to": True}})).outcome == "passed"


def test_an_estimate_that_is_not_a_number_is_not_invariant():
    one = found(
        invariance({"age": {"add": 1}}, tolerance=9.0), model=lambda c: np.full(len(c["age"]), math.nan)
    )
    assert (one.outcome, one.value) == ("issue", 1.0)


# The changes


def changed(name, **change):
    contract = cars()
    columns, possible = change_rows(contract, rows(), {name: Change(**change)})
    return columns[name], possible


def test_rows_that_would_leave_their_bounds_are_left_out():
    values, possible = changed("age", factor=1.5)
    assert values.tolist() == pytest.approx((np.linspace(0, 12, 100) * 1.5).tolist())
    assert possible.tolist() == (values <= 15).tolist()
    assert 0 < possible.sum() < 100
    below, allowed = changed("age", add=-6)
    assert allowed.tolist() == (below >= 0).tolist()
    assert found(direction({"age": {"factor": 1.5}}, "not_higher")).sentence.endswith("it must not raise it")


def test_a_bound_itself_is_within_bounds():
    contract = cars()
    columns = {**rows(4), "age": np.array([0.0, 15.0, 14.0, 1.0])}
    _, possible = change_rows(contract, columns, {"age": Change(add=1)})
    assert possible.tolist() == [True, False, True, True]
    _, possible = change_rows(contract, columns, {"age": Change(add=-1)})
    assert possible.tolist() == [False, True, True, True]


def test_missing_values_are_left_out_and_whole_numbers_stay_whole():
    _, possible = changed("mileage", factor=1.1)
    assert possible.tolist() == (np.arange(100) % 10 != 3).tolist()
    values, possible = changed("doors", factor=1.3)
    assert values[:4].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert possible[:4].tolist() == [True, True, True, False]
    days, possible = changed("sold", add=0.6)
    assert (days == 16_501).all()
    assert possible.all()
    assert changed("age", add=0)[0].tolist() == rows()["age"].tolist()
    shares, _ = changed("age", add=0.6)
    assert shares[0] == 0.6


def test_categories_and_dates_are_replaced_by_what_the_contract_knows():
    values, possible = changed("make", to="Saab")
    assert set(values) == {"Saab"}
    assert possible.tolist() == [k % 20 != 7 for k in range(100)]
    assert not changed("make", to="Lada")[1].any()
    notes, possible = changed("note", to="loud")
    assert set(notes) == {"loud"}
    assert possible.tolist() == [False] + [True] * 99
    days, _ = changed("sold", to="2015-03-07")
    assert (days == 16_501).all()
    assert (changed("electric", to=True)[0] == 1.0).all()


def test_several_columns_change_together():
    contract = cars()
    changes = {"age": Change(add=4), "doors": Change(add=1)}
    columns, possible = change_rows(contract, rows(), changes)
    assert possible.tolist() == ((columns["age"] <= 15) & (columns["doors"] <= 5)).tolist()
    one = found(direction({"age": {"add": 1}, "doors": {"factor": 1}, "make": {"to": "Fiat"}}, "not_higher"))
    assert one.sentence.startswith("age + 1, doors * 1, make = Fiat changes")
    assert "of 95 rows" in one.sentence


@pytest.mark.parametrize(("n", "outcome"), [(29, "issue"), (30, "passed")])
@pytest.mark.parametrize("kind", ["direction", "invariance"])
def test_fewer_than_thirty_rows_show_nothing(kind, n, outcome):
    columns = {name: values[:n] for name, values in rows().items()}
    powered = {"electric": {"to": True}}
    contract = direction(powered, "not_lower") if kind == "direction" else invariance(powered)
    one = found(contract, columns)
    assert (one.check, one.outcome) == (f"{kind}:check", outcome)
    if outcome == "issue":
        assert (one.value, one.limit) == (29, 30)
        assert "the change can be made to 29 of 29 rows, fewer than 30: nothing is shown" in one.sentence


def test_a_change_that_can_be_made_to_no_row_is_an_issue():
    one = found(direction({"age": {"add": 100}}, "not_higher"))
    assert (one.outcome, one.value) == ("issue", 0)
    assert "to 0 of 100 rows" in one.sentence


def test_at_most_a_thousand_rows_are_asked_about_evenly_spread():
    asked = []

    def watched(columns):
        asked.append(columns["age"])
        return price(columns)

    contract = direction({"electric": {"to": True}}, "not_lower")
    found(contract, rows(4000), watched)
    assert [len(ages) for ages in asked] == [1000, 1000]
    assert (asked[0][0], asked[0][-1]) == (0.0, 12.0)
    assert np.diff(asked[0]).max() < 0.02


# Golden rows

ROW = {"age": 3, "make": "Saab", "electric": False, "mileage": 1000, "doors": 4}
WORTH = float(2 * np.exp(10 - 0.3))


@pytest.mark.parametrize(
    ("minimum", "maximum", "outcome", "limit"),
    [
        (WORTH, WORTH, "passed", WORTH),
        (1.0, WORTH, "passed", 1.0),
        (1.0, WORTH - 1, "issue", WORTH - 1),
        (WORTH + 1, WORTH + 2, "issue", WORTH + 1),
        (WORTH - 1, WORTH + 1, "passed", WORTH - 1),
    ],
)
def test_a_golden_row_must_be_estimated_between_its_bounds(minimum, maximum, outcome, limit):
    golden = {"name": "a-saab", "row": ROW, "minimum": minimum, "maximum": maximum}
    one = found(cars(golden=[golden]))
    assert (one.check, one.outcome) == ("golden:a-saab", outcome)
    assert (one.value, one.limit) == (pytest.approx(WORTH), pytest.approx(limit))
    place = "within" if outcome == "passed" else "outside"
    told = f"golden row a-saab is estimated at {WORTH:,.0f} EUR, {place} {minimum:,.0f} to {maximum:,.0f}"
    assert one.sentence == told


def test_a_golden_row_may_name_its_valuation_date():
    golden = GoldenRow(name="then", row={**ROW, "valuation_date": "2015-03-06"}, minimum=1, maximum=9e9)
    asked = []

    def watched(columns):
        asked.append(columns["sold"].tolist())
        return price(columns)

    found(cars(golden=[golden.model_dump()]), model=watched)
    assert asked == [[16_500.0]]


def test_a_golden_estimate_that_is_not_a_number_is_an_issue():
    golden = {"name": "a-saab", "row": ROW, "minimum": 1, "maximum": 9e9}
    one = found(cars(golden=[golden]), model=lambda c: np.array([math.nan]))
    assert (one.outcome, one.value) == ("issue", None)
