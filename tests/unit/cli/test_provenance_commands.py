"""``hedonic trace``, ``explain-decision``, ``reproduce``: what they print, their JSON, their exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hedonic.cli.edge import run_command
from hedonic.cli.environment import prepare
from tests.lived_in import LivedIn, lived_in

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LivedIn:
    made = lived_in(tmp_path_factory.mktemp("lived_in") / "town")
    (made.settings.root / "prefect.yaml").write_text("name: town\n")
    (made.settings.root / "flows").mkdir()
    (made.settings.root / "flows" / "train.py").write_text("import json\n")
    (made.settings.root / "requirements.txt").write_text("numpy==2.4.0\n")
    return made


@pytest.fixture
def home(whole: LivedIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivedIn]:
    saved = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("HEDONIC_", "PREFECT_", "MLFLOW_", "BENTOML_")):
            del os.environ[name]
    moved = whole.moved(tmp_path / "town")
    monkeypatch.chdir(moved.settings.root)
    yield moved
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def hedonic(home: LivedIn, capfd: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run_command(arguments, lambda: prepare(os.environ))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def test_a_trace_tells_the_answer_and_every_digest_whole(hedonic: Command, home: LivedIn) -> None:
    home.answered(*[home.row] * 7)
    code, out, _ = hedonic("trace", "r1")
    assert code == 0
    assert "houses answered /predict at" in out
    assert "and 2 rows more" in out
    assert "computed again: 7 of 7 rows equal, bit for bit" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["verified", "snapshot", home.snapshot.digest] in lines
    assert ["verified", "release", home.release] in lines
    code, out, _ = hedonic("trace", "r1", "--json")
    told = json.loads(out.splitlines()[-1])
    assert (code, told["problems"], told["answers"][0]["n_equal"]) == (0, [], 7)
    assert {check["what"] for check in told["releases"][0]["surroundings"]} >= {"code", "lock", "commit"}


def test_a_trace_of_what_was_changed_exits_1_and_of_what_is_not_known_2(
    hedonic: Command, home: LivedIn
) -> None:
    home.answered()
    trees = home.folder / "model" / "point" / "trees.txt"
    trees.write_text(trees.read_text() + "\n")
    code, out, _ = hedonic("trace", "r1")
    assert code == 1
    assert "not computed again: release" in out
    assert "trees.txt: changed" in out
    code, out, err = hedonic("trace", "r2", "--json")
    assert code == 2
    assert "HEDONIC_LOG_RETENTION_DAYS" in err
    assert json.loads(out.splitlines()[-1])["error"]["exit_code"] == 2


def test_a_trace_whose_rows_are_gone_exits_1(hedonic: Command, home: LivedIn) -> None:
    home.answered()
    (home.settings.snapshots / "houses" / home.snapshot.digest / "snapshot.parquet").unlink()
    code, out, _ = hedonic("trace", "r1", "--json")
    assert code == 1
    (problem,) = json.loads(out.splitlines()[-1])["problems"]
    assert f"snapshot {home.snapshot.digest}" in problem
    assert "is missing" in problem


def test_a_decision_tells_its_findings_and_what_is_lost(hedonic: Command, home: LivedIn) -> None:
    code, out, _ = hedonic("explain-decision", "houses")
    assert code == 0
    assert "houses version 1: promoted at" in out
    assert "not told: the record names no study" in out
    assert "there is no champion" in out
    code, out, _ = hedonic("explain-decision", "houses", "1", "--json")
    told = json.loads(out.splitlines()[-1])
    assert (code, told["record"]["release"], told["leaderboard"]) == (0, home.release, [])
    assert hedonic("explain-decision", "houses", "9")[0] == 2


def test_a_reproduction_by_other_code_exits_1_and_says_how_to_go_on(hedonic: Command, home: LivedIn) -> None:
    code, out, _ = hedonic("reproduce", "houses", "1")
    assert code == 1
    assert "the first difference: code: recorded dddd" in out
    assert "nothing was made. --anyway makes it with what is here." in out
    code, out, _ = hedonic("reproduce", "houses", "1", "--json")
    told = json.loads(out.splitlines()[-1])
    assert (code, told["same"], told["results"]) == (1, False, None)
    assert hedonic("reproduce", "houses", "9")[0] == 2
