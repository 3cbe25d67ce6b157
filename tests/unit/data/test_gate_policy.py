"""What a contract asks of a model's behaviour: what is refused; what is left out changes no digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hedonic.data.behaviour_policy import Change, CoveragePolicy, GoldenRow
from hedonic.data.contract import Contract, dump_contract, parse_contract
from hedonic.data.contract_file import load_contract
from hedonic.errors import ContractError
from tests.contracts import car_contract, house_contract

AS_BEFORE = {
    "limits", "margin", "confidence", "resamples", "slices", "max_trees", "max_leaves", "max_latency_ms",
}  # fmt: skip
ASKED: dict[str, Any] = {
    "test": "non_inferiority",
    "max_looks": 20,
    "unscored_champion": "limits_decide",
    "max_size_mb": 5,
    "directions": [{"name": "older", "changes": {"age": {"add": 1}}, "effect": "not_higher"}],
    "invariances": [{"name": "blind", "changes": {"make": {"to": "Fiat"}}, "tolerance": 0.5}],
    "golden": [{"name": "a-saab", "row": {"age": 3}, "minimum": 1, "maximum": 2}],
    "simple": {"margin": 0.01},
}


def cars(**gate: Any) -> Contract:
    return car_contract(gate={"limits": [], **gate})


def test_a_contract_that_asks_nothing_new_is_written_as_before_there_was_anything_to_ask() -> None:
    written = json.loads(dump_contract(car_contract()))["gate"]
    assert set(written) == AS_BEFORE
    assert set(written["slices"]) == {"minimum_rows", "margin"}
    spelt_out = cars(test="superiority", max_looks=None, directions=[], simple=None, unscored_champion="keep")
    assert spelt_out.digest == car_contract().digest


@pytest.mark.parametrize("key", ASKED)
def test_what_is_asked_is_part_of_the_contract_and_of_its_digest(key: str) -> None:
    asked = cars(**{key: ASKED[key]})
    assert parse_contract(dump_contract(asked)) == asked
    assert asked.digest != car_contract().digest


@pytest.mark.parametrize("key", ["limits", "coverage"])
def test_what_is_asked_of_slices_is_part_of_it_too(key: str) -> None:
    asked = {"limits": [{"metric": "mdape_pct", "maximum": 20}], "coverage": [{"level": 90, "minimum": 80}]}
    contract = cars(slices={key: asked[key]})
    assert parse_contract(dump_contract(contract)) == contract
    assert contract.digest != car_contract().digest


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (
            {"directions": [{"name": "x", "changes": {"price": {"add": 1}}, "effect": "not_lower"}]},
            "gate: x: 'price' is neither a feature nor the time column",
        ),
        (
            {"invariances": [{"name": "y", "changes": {"make": {"factor": 2}}}]},
            "gate: y: 'make' is a category, which has no factor or add; use to",
        ),
        (
            {"golden": [{"name": "z", "row": {"colour": "red"}, "minimum": 1, "maximum": 2}]},
            "gate: golden row z: 'colour' is not what a caller sends",
        ),
        ({"directions": [{"name": "x", "changes": {}, "effect": "not_lower"}]}, "at least 1 item"),
        (
            {"directions": [{"name": "x", "changes": {"age": {"add": 1}}, "effect": "up"}]},
            "should match pattern",
        ),
        ({"max_looks": 0}, "greater than or equal to 1"),
        ({"test": "equality"}, "'superiority' or 'non_inferiority'"),
        ({"unscored_champion": "forget"}, "'keep' or 'limits_decide'"),
    ],
)
def test_what_no_model_can_be_asked_is_refused(gate: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        cars(**gate)


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({}, None),
        ({"max_looks": 20}, None),
        ({"max_looks": 21}, "4.7619 of 2000 resamples .* set gate.resamples to 2100 or more"),
        ({"max_looks": 1000}, "0.1 of 2000 resamples .* set gate.resamples to 100000 or more"),
        ({"max_looks": 1000, "resamples": 100_000}, None),
        ({"confidence": 0.9, "max_looks": 20, "resamples": 1000}, None),
        ({"resamples": 100}, None),
        ({"resamples": 100, "confidence": 0.96}, "4 of 100 resamples .* set gate.resamples to 125 or more"),
    ],
)
def test_a_contract_whose_resamples_cannot_keep_its_confidence_is_refused(
    gate: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    contract = cars(**gate)
    path = tmp_path / "cars.yaml"
    path.write_text(dump_contract(contract))
    if told is None:
        assert load_contract(path) == contract
    else:
        with pytest.raises(ContractError, match=told):
            load_contract(path)
    # What a release carries is read all the same: it goes on serving.
    assert parse_contract(dump_contract(contract)) == contract


def test_the_date_of_a_sale_may_change_and_be_named() -> None:
    contract = house_contract(
        gate={
            "limits": [],
            "directions": [{"name": "later", "changes": {"sold": {"add": 30}}, "effect": "not_lower"}],
            "golden": [{"name": "g", "row": {"valuation_date": "2015-01-01"}, "minimum": 1, "maximum": 2}],
        }
    )
    assert contract.gate.directions[0].changes["sold"].add == 30


@pytest.mark.parametrize("change", [{}, {"factor": 2, "add": 1}, {"add": 1, "to": 3}])
def test_a_change_is_one_of_three(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a change is one of factor, add and to"):
        Change.model_validate(change)


def test_a_change_to_false_is_a_change() -> None:
    assert Change.model_validate({"to": False}).to is False


def test_bounds_that_are_upside_down_are_refused() -> None:
    with pytest.raises(ValidationError, match="g: minimum 3 > maximum 2"):
        GoldenRow(name="g", row={}, minimum=3, maximum=2)
    with pytest.raises(ValidationError, match="coverage of 90: minimum 80 > maximum 70"):
        CoveragePolicy(level=90, minimum=80, maximum=70)
