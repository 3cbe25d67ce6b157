"""A training whose contract asks for approval: a failed attempt, a parked verdict, a person, a champion."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from flows.train import train
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError
from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.approval import approve, find_parked
from hedonic.promotion.history import History, open_history
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.projection import project as write_projections
from hedonic.settings import Settings
from tests.project import write_contract

pytestmark = pytest.mark.slow

DATASET = "small_county"
QUICK: dict[str, Any] = {"dataset": DATASET, "families": ("ridge",), "trials": 1}


def kinds(history: History) -> list[str]:
    return [record.kind for record in history.records(DATASET)]


def test_a_promoting_verdict_waits_for_a_person_and_an_attempt_that_fails_is_on_record(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_contract(project.root, gate={"approval": "required"})

    def no_room(*_args: object, **_changes: object) -> None:
        raise HedonicError("no room for a bento")

    with monkeypatch.context() as patch:
        patch.setattr("hedonic.promotion.bento.build_bento", no_room)
        with pytest.raises(HedonicError, match="no room for a bento"):
            train(**QUICK, reason="first try")
    with closing(open_history(project)) as history:
        (failed,) = history.records(DATASET)
        assert (failed.kind, failed.reason, failed.failure) == ("failed", "first try", "no room for a bento")
        assert failed.verdict is not None
        assert failed.verdict.promoted
        assert history.standing(DATASET, str(failed.candidate)) == "candidate"

        parked = train(**QUICK, reason="second try")
        assert (parked.outcome, parked.standing) == ("parked", "challenger")
        assert (parked.endpoint, parked.prediction) == (None, None)
        assert history.champion(DATASET) is None
        assert read_pointer(project.home, DATASET) is None
        (alert,) = AlertBook(project).open()
        assert alert.key == f"approval-awaited:{DATASET}"
        assert "hedonic approve small_county" in alert.text

        again = train(**QUICK)
        assert (again.outcome, again.standing) == ("unchanged", "challenger")
        waiting = find_parked(history, project.releases, DATASET)
        assert waiting.release == parked.release
        approve(history, project.releases, waiting, actor="eve", reason="looked at it")
        assert write_projections(project, DATASET)[0].kind == "registry-behind"
        assert write_projections(project, DATASET) == ()
        pointer = read_pointer(project.home, DATASET)
        assert pointer is not None
        assert pointer.release == parked.release
        final = train(**QUICK)
        assert (final.outcome, final.standing) == ("unchanged", "champion")
        assert kinds(history) == ["failed", "parked", "approved"]


def test_a_contract_that_asks_for_no_approval_is_written_as_before(project: Settings) -> None:
    write_contract(project.root)
    without = load_contract(project.expectations / f"{DATASET}.yaml")
    assert "approval" not in without.model_dump(mode="json")["gate"]
    write_contract(project.root, gate={"approval": "required"})
    asked = load_contract(project.expectations / f"{DATASET}.yaml")
    assert asked.digest != without.digest
    assert (asked.gate.recorded_as("promoted"), asked.gate.recorded_as("kept")) == ("parked", "kept")
    assert without.gate.recorded_as("promoted") == "promoted"
