"""The gate's benchmark judges each data set by its own stated rates, and fails where one is missed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import gate
from benchmarks.gate import STATED_POWER, Rates

GOOD = Rates("A", 42, 546, 0.002, 0.005, 0.04, 0.05, 126, 0.95, 0.0031, 200)
OTHER = replace(GOOD, title="B", stated_aa=0.02, aa=0.01, power=0.93)

Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the benchmark on drawn rates; it gives exit code, JSON and what is told as wrong."""

    def run(*drawn: Rates) -> tuple[int, dict[str, Any], str]:
        rates = iter(drawn)
        monkeypatch.setattr(gate, "measure", lambda *_: next(rates))
        monkeypatch.setattr("sys.argv", ["gate", "--json"])
        code = gate.main()
        told = capsys.readouterr()
        return code, json.loads(told.out.splitlines()[-1]), told.err

    return run


def test_rates_that_are_as_stated_pass_and_the_worst_are_summarised(run: Run) -> None:
    code, told, err = run(GOOD, OTHER)
    assert (code, err) == (0, "")
    assert told == {
        "aa_promotion_rate": GOOD.aa,
        "stated_aa_rate": GOOD.stated_aa,
        "power": OTHER.power,
        "stated_power": STATED_POWER,
    }


def test_a_rate_at_its_bound_is_as_stated(run: Run) -> None:
    code, _, err = run(replace(GOOD, aa=GOOD.stated_aa, power=STATED_POWER), OTHER)
    assert (code, err) == (0, "")


def test_an_a_a_rate_above_its_own_statement_fails_though_below_that_of_the_other_data_set(run: Run) -> None:
    code, told, err = run(replace(GOOD, aa=0.008), OTHER)
    assert code == 1
    assert "A: no better and promoted 0.80 % of comparisons, stated at most 0.50 %" in err
    assert (told["aa_promotion_rate"], told["stated_aa_rate"]) == (0.008, 0.005)


def test_too_little_power_on_one_data_set_fails_though_both_together_have_enough(run: Run) -> None:
    code, told, err = run(replace(GOOD, power=1.0), replace(OTHER, power=0.85))
    assert code == 1
    assert "B: better and promoted 85.00 % of comparisons, stated at least 90.00 %" in err
    assert told["power"] == 0.85
