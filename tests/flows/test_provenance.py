"""A real run, traced and made again: from an answer of the endpoint to rows, study and MLflow, and back."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.train import train
from hedonic.model.manifest import RECORD
from hedonic.promotion.history import History, Record
from hedonic.provenance.decision import explain_decision
from hedonic.provenance.reproduction import Reproduction, reproduce
from hedonic.provenance.trace import Trace, trace_request
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings
from tests.project import ROOT
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

DATASET = "small_county"
LEFT_ALONE = ("serving", "mlflow", "optuna", "releases", "reports", "snapshots", "validations")


@pytest.fixture(scope="module")
def promoted(project: Settings) -> Any:
    return train(dataset=DATASET, reason="first")


def asked(url: str, path: str, body: bytes, kind: str) -> str:
    """Return the id of the request, once its answer is in the log of the endpoint's home."""
    request = urllib.request.Request(f"{url}{path}", body, {"Content-Type": kind, "Accept": kind})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.headers["X-Request-Id"])


def traced(project: Settings, request_id: str) -> Trace:
    from hedonic.errors import UserError

    def found() -> Trace | None:  # mode fast writes an answer a moment after it is given
        try:
            return trace_request(project, LogSettings(home=project.home), request_id)
        except UserError:
            return None

    trace = wait_for(found, "the answer is in the log")
    assert trace is not None
    return trace


def test_answers_of_the_endpoint_are_traced_to_rows_study_and_mlflow(
    promoted: Any, project: Settings
) -> None:
    golden = json.loads((project.releases / DATASET / promoted.release / "golden.json").read_text())
    rows = golden["instances"][:3]
    body = json.dumps({"instances": rows}).encode()
    trace = traced(project, asked(promoted.endpoint, "/predict", body, "application/json"))
    assert (trace.answers[0].n_rows, trace.answers[0].equal, trace.problems) == (3, True, ())
    (release,) = trace.releases
    assert release.release == promoted.release
    found = {check.what: check for check in (*release.checks, *release.surroundings)}
    verified = {what for what, check in found.items() if check.status == "verified"}
    assert verified == {
        "release", "judged model", "bento", "contract", "snapshot", "split", "model version", "MLflow run",
        "study and trial", "source", "contract in expectations/", "code", "lock", "toolchain",
    }  # fmt: skip
    assert found["bento"].recorded == promoted.bento
    assert found["commit"].status == "unchecked"  # the test's project is no repository
    lines = [[*rows[0]], *([json.dumps(row.get(name)).strip('"') for name in rows[0]] for row in rows)]
    table = "\n".join(",".join(line) for line in lines).encode()
    trace = traced(project, asked(promoted.endpoint, "/invocations", table, "text/csv"))
    (answer,) = trace.answers
    assert (answer.route, answer.n_rows, answer.equal) == ("/invocations", 3, True)


def test_the_decision_is_explained_by_every_trial_and_finding(promoted: Any, project: Settings) -> None:
    decision = explain_decision(project, DATASET)
    assert (decision.record.release, decision.version, decision.lost) == (promoted.release, 1, ())
    assert sorted(a.trial for a in decision.alternatives) == [-1, -1, 0, 1, 2]
    assert {a.family for a in decision.leaderboard} == {"median", "ridge", "boosting"}
    (chosen,) = [a for a in decision.alternatives if a.chosen]
    manifest = json.loads((project.releases / DATASET / promoted.release / "manifest.json").read_text())
    assert manifest["configuration"]["recipe"]["parameters"] == chosen.parameters
    assert decision.evaluation is not None
    assert decision.evaluation.figures["mdape_pct"] == promoted.figures["mdape_pct"]
    assert decision.why[-1].startswith("promoted: there is no champion")


def latest(project: Settings) -> Record:
    """Return the last record of the history: its hash vouches for all before it."""
    history = History(project.history)
    head = history.head()
    history.close()
    assert head is not None
    return head


def state(project: Settings) -> dict[str, str]:
    """Return the sha256 of every file that a reproduction must leave alone."""
    files = [path for name in LEFT_ALONE for path in _files(project.home / name)]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _files(path: Path) -> Iterator[Path]:
    yield from [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def reproduced(promoted: Any, project: Settings) -> tuple[Reproduction, dict[str, str], dict[str, str]]:
    before = state(project) | {"history": latest(project).hash}
    found = reproduce(project, DATASET, "1")
    return found, before, state(project) | {"history": latest(project).hash}


def test_a_release_made_again_from_its_record_is_the_same_to_the_bento(
    reproduced: Any, promoted: Any
) -> None:
    found, _, _ = reproduced
    assert (found.difference, found.same) == (None, True)
    told = {check.what: check.status for check in (*found.ingredients, *found.results)}
    assert told == dict.fromkeys(
        ["snapshot", "contract", "code", "lock", "configuration", "toolchain", "judged model", "served model",
         "release", "bento"],
        "verified",
    )  # fmt: skip
    assert found.results[-2].found == promoted.release
    assert found.results[-1].found.startswith(promoted.bento)


def test_a_reproduction_touches_neither_history_nor_pointer_nor_books(
    reproduced: Any, project: Settings
) -> None:
    _, before, after = reproduced
    assert after == before
    assert len(before) > 20
    assert list((project.home / "reproductions").iterdir()) == []


def test_numbers_that_come_out_otherwise_are_named_by_file_and_place(
    promoted: Any, project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hedonic.model import training

    honest = training._level
    monkeypatch.setattr(training, "_level", lambda *given: honest(*given) * (1 + 2**-40))
    found = reproduce(project, DATASET, "1")
    assert not found.same
    assert str(found.difference).startswith("release: judged/model.json: ")
    assert ": recorded " in str(found.difference)
    statuses = {check.what: check.status for check in found.results or ()}
    assert statuses == {"judged model": "differs", "served model": "differs", "release": "differs",
                        "bento": "unchecked"}  # fmt: skip


def test_no_release_and_no_bento_names_machine_user_place_day_or_run(
    promoted: Any, project: Settings
) -> None:
    release = project.releases / DATASET / promoted.release
    name, _, version = promoted.bento.partition(":")
    bento = project.bentos / "bentos" / name / version
    record = latest(project)
    beside = json.loads((release / RECORD).read_text())
    told = {
        "project": str(project.root), "repository": str(ROOT), "temporary folder": "hedonic-bento-",
        "today": datetime.now().astimezone().date().isoformat(), "study": beside["study"],
        "today in UTC": datetime.now(UTC).date().isoformat(), "MLflow run": beside["mlflow_run_id"],
        "flow run": str(record.flow_run),
    }  # fmt: skip
    # Sources may hold such words, and BentoML's recipe has a cache below the container's own /root.
    short = {"host": f" {socket.gethostname()} ", "user": f'"{getpass.getuser()}"', "home": f"{Path.home()}/"}
    files = [path for folder in (release, bento) for path in folder.rglob("*")]
    counted = [path for path in files if path.is_file() and path.name != RECORD and path.suffix != ".pyc"]
    assert len(counted) > 60
    assert [found for path in counted for found in held(path, told)] == []
    data = [path for path in counted if path.suffix != ".py" and path.name != "Dockerfile"]
    assert [found for path in data for found in held(path, short)] == []
    seen = {found.partition(": ")[2] for found in held(release / RECORD, told | short)}
    assert seen >= {"study", "MLflow run", "user"}  # the scan finds what is there to be found


def held(path: Path, told: dict[str, str]) -> list[str]:
    """Return which of the texts a file holds; one between blanks is looked for as a whole word."""
    content = re.sub(rb"[^\w.-]", b" ", path.read_bytes()) if path.suffix != ".npy" else path.read_bytes()
    whole = path.read_bytes()
    return [
        f"{path.name}: {what}"
        for what, text in told.items()
        if text.encode() in (content if text.startswith(" ") else whole)
    ]
