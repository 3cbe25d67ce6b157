"""The canary stage in a contract: what it says, and that a contract without one stays what it was."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from hedonic.data.contract import dump_contract, parse_contract
from hedonic.data.gate_policy import CanaryPolicy
from tests.contracts import car_contract


def test_a_contract_that_asks_for_no_canary_is_written_as_before_there_were_any() -> None:
    contract = car_contract()
    assert "canary" not in json.loads(dump_contract(contract))["gate"]
    assert contract.digest == car_contract(gate={"limits": [], "canary": None}).digest


def test_a_canary_stage_is_part_of_the_contract_and_of_its_digest() -> None:
    asked = car_contract(gate={"limits": [], "canary": {"share": 0.2, "requests": 500}})
    assert parse_contract(dump_contract(asked)) == asked
    assert asked.gate.canary == CanaryPolicy(share=0.2, requests=500)
    assert asked.digest != car_contract().digest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"requests": 10}, "window 50 is never full in 10 requests"),
        ({"share": 0}, "greater than 0"),
        ({"otherwise": "wait"}, "'refuse' or 'promote'"),
        ({"until": "noon"}, "Extra inputs"),
    ],
)
def test_a_canary_stage_that_cannot_be_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CanaryPolicy.model_validate(change)
