"""The control tower: cleared only when every gate was passed or not needed, and it says what held it."""

from __future__ import annotations

import json
import sys

import pytest

from delivery import control_tower
from delivery.control_tower import is_cleared, summary

GREEN = {
    "structure": {"result": "success", "outputs": {"code": "true", "image": ""}},
    "tests": {"result": "success", "outputs": {"coverage_pct": "93.1"}},
    "image": {"result": "skipped", "outputs": {}},
}


def test_gates_that_were_passed_or_not_needed_are_cleared():
    assert is_cleared(GREEN)
    text = summary("ci", {"ref": "main", "commit": ""}, GREEN)
    assert text.startswith("## ci: 🟢 cleared\n\n**ref** main\n")
    assert "| tests | 🟢 go | coverage pct 93.1 |" in text
    assert "| image | ⚪ not needed |  |" in text


@pytest.mark.parametrize("result", ["failure", "cancelled", "a word of tomorrow"])
def test_one_gate_that_was_not_passed_holds_everything(result):
    gates = GREEN | {"security": {"result": result, "outputs": {}}}
    assert not is_cleared(gates)
    assert "🔴 held by security" in summary("ci", {}, gates)


def test_where_every_gate_was_left_out_nothing_is_cleared():
    left_out = {"tests": {"result": "skipped", "outputs": {}}}
    assert not is_cleared(left_out)
    assert not is_cleared({})
    assert "🔴 held: no gate was passed" in summary("ci", {}, left_out)


def test_a_value_cannot_break_out_of_its_cell():
    assert "a\\|b&lt;i> c" in summary("ci", {"ref": "a|b<i>\nc"}, GREEN)


@pytest.mark.parametrize(("result", "code"), [("success", 0), ("failure", 1)])
def test_its_exit_code_is_the_one_check_of_a_branch_rule(monkeypatch, tmp_path, result, code):
    needs, page = json.dumps({"lint": {"result": result, "outputs": {}}}), tmp_path / "summary.md"
    monkeypatch.setattr(sys, "argv", ["control_tower", "ci", "--needs", needs, "--summary", str(page)])
    assert control_tower.main() == code
    assert "| lint |" in page.read_text()
