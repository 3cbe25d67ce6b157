"""A verdict that another promotion overtook is recorded as what it is by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedonic.promotion.history import History
from hedonic.promotion.record import Entry
from hedonic.promotion.verdict import Finding, Verdict
from hedonic.promotion.verdict_record import record_entry

OURS, THEIRS = "a" * 64, "b" * 64


def entry(kind: str, release: str | None = None) -> tuple[Entry, Verdict]:
    outcome = "passed" if kind == "promoted" else "issue"
    better = Finding(check="better", outcome=outcome, sentence="as it is")
    verdict = Verdict(promoted=kind == "promoted", kind=kind, reasons=(better,), holdout="e" * 64)
    return Entry(
        dataset="town", kind=kind, release=release, bento="town:1" if release else None, candidate="c" * 64,
        verdict=verdict, actor="test", reason="test", recipe="d" * 64,
    ), verdict  # fmt: skip


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(f"sqlite:///{tmp_path}/history.db")


def test_a_verdict_about_the_present_champion_is_recorded_as_it_is(history: History) -> None:
    record = record_entry(history, *entry("promoted", OURS), champion=None)
    assert (record.kind, record.release, record.bento, record.recipe) == (
        "promoted",
        OURS,
        "town:1",
        "d" * 64,
    )
    assert history.champion("town") == record


def test_a_promotion_that_another_overtook_is_refused_on_record(history: History) -> None:
    history.append(entry("promoted", THEIRS)[0], expected_champion=None)
    record = record_entry(history, *entry("promoted", OURS), champion=None)
    assert (record.kind, record.release, record.bento, record.recipe) == ("refused", None, None, None)
    assert [finding.check for finding in record.verdict.issues] == ["stale-champion"]
    assert f"the champion is {THEIRS}, but the candidate was judged against none" in record.verdict.summary
    assert record.verdict.holdout == "e" * 64
    assert not record.verdict.is_about_the_candidate
    assert history.champion("town").release == THEIRS
    assert history.verify_chain() == ()


@pytest.mark.parametrize("kind", ["kept", "refused"])
def test_a_verdict_that_promotes_nothing_is_recorded_with_that_reason_beside_its_own(
    kind: str, history: History
) -> None:
    history.append(entry("promoted", THEIRS)[0], expected_champion=None)
    record = record_entry(history, *entry(kind), champion=None)
    assert (record.kind, record.recipe) == (kind, None)
    assert [finding.check for finding in record.verdict.issues] == ["better", "stale-champion"]
