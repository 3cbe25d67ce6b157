"""The control tower: cleared only when every gate was passed or not needed, and it says what held it."""

from __future__ import annotations

import json
import sys

import pytest

from delivery import control_tower
from delivery.control_tower import Leave, is_cleared, summary

GREEN = {
    "structure": {"result": "success", "outputs": {"code": "true", "image": "false"}},
    "tests": {"result": "success", "outputs": {"coverage_pct": "93.1"}},
    "image": {"result": "skipped", "outputs": {}},
}
LEAVES = [Leave.parse("tests=structure.code:false"), Leave.parse("image=structure.image:false")]


def test_gates_that_were_passed_or_not_needed_are_cleared():
    assert is_cleared(GREEN, LEAVES)
    text = summary("ci", {"ref": "main", "commit": ""}, GREEN, LEAVES)
    assert text.startswith("## ci: 🟢 cleared\n\n**ref** main\n")
    assert "| tests | 🟢 go | coverage pct 93.1 |" in text
    assert "| image | ⚪ not needed |  |" in text


@pytest.mark.parametrize("result", ["failure", "cancelled", "a word of tomorrow"])
def test_one_gate_that_was_not_passed_holds_everything(result):
    gates = GREEN | {"security": {"result": result, "outputs": {}}}
    assert not is_cleared(gates, LEAVES)
    assert "🔴 held by security" in summary("ci", {}, gates, LEAVES)


@pytest.mark.parametrize(
    "structure",
    [
        {"result": "success", "outputs": {}},
        {"result": "success", "outputs": {"image": ""}},
        {"result": "success", "outputs": {"image": "true"}},
        {"result": "success", "outputs": {"image": "False"}},
        {"result": "failure", "outputs": {"image": "false"}},
    ],
)
def test_a_gate_that_was_skipped_without_a_plain_false_holds_everything(structure):
    gates = GREEN | {"structure": structure}
    assert not is_cleared(gates, LEAVES)
    text = summary("ci", {}, gates, LEAVES)
    assert "image" in text.splitlines()[0]
    assert "| image | 🔴 **left out** |" in text


def test_a_gate_for_which_there_is_no_leave_may_not_be_skipped():
    gates = GREEN | {"lint": {"result": "skipped", "outputs": {}}}
    assert not is_cleared(gates, LEAVES)
    assert not is_cleared(GREEN)


@pytest.mark.parametrize("text", ["image", "image=structure.image", "image=structure:false", "image=a.b:"])
def test_a_leave_that_is_written_otherwise_is_refused(text):
    with pytest.raises(ValueError, match="JOB=GATE"):
        Leave.parse(text)


def test_a_gate_that_did_nothing_is_no_go():
    gates = {"deploy": {"result": "success", "outputs": {"undone": "DEPLOY_BY is not set"}}}
    text = summary("release", {}, gates)
    assert "| deploy | ⚪ nothing done | undone DEPLOY_BY is not set |" in text


def test_where_no_gate_was_passed_nothing_is_cleared():
    left_out = {"tests": {"result": "skipped", "outputs": {}}}
    assert not is_cleared(left_out, LEAVES)
    assert not is_cleared({})
    assert "🔴 held: no gate was passed" in summary("ci", {}, {})


def test_a_value_cannot_break_out_of_its_cell():
    assert "a\\|b&lt;i> c" in summary("ci", {"ref": "a|b<i>\nc"}, GREEN)


@pytest.mark.parametrize(("result", "code"), [("success", 0), ("failure", 1)])
def test_its_exit_code_is_the_one_check_of_a_branch_rule(monkeypatch, tmp_path, result, code):
    needs, page = json.dumps(GREEN | {"lint": {"result": result, "outputs": {}}}), tmp_path / "summary.md"
    leave = ["--may-skip", "image=structure.image:false"]
    monkeypatch.setattr(
        sys, "argv", ["control_tower", "ci", "--needs", needs, *leave, "--summary", str(page)]
    )
    assert control_tower.main() == code
    assert "| lint |" in page.read_text()
