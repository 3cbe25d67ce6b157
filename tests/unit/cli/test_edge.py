"""Errors become a message and an exit code; the environment is set before anything heavy is imported."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hedonic.cli import edge, run
from hedonic.cli.app import app
from hedonic.cli.environment import export_lines, prepare
from hedonic.errors import HedonicError, UserError
from hedonic.process_environment import NUMERIC_ENVIRONMENT
from hedonic.settings import load_settings


def failing(monkeypatch, err):
    def flow(*_):
        raise err

    monkeypatch.setattr(run, "choose_api", lambda *_: "http://server/api")
    monkeypatch.setattr(run, "run_flow", flow)


@pytest.mark.parametrize(("err", "code"), [(UserError("no such file"), 2), (HedonicError("fit failed"), 1)])
def test_an_error_on_purpose_gives_its_code_and_message_without_traceback(hedonic, monkeypatch, err, code):
    failing(monkeypatch, err)
    got, out, told = hedonic("run", "toy")
    assert (got, "Traceback" in out) == (code, False)
    assert told.endswith(f"hedonic: {err}\n")
    assert "Traceback" not in told


def test_the_reason_is_found_behind_the_error_of_a_tool(hedonic, monkeypatch):
    wrapped = RuntimeError("task failed")
    wrapped.__cause__ = UserError("no such file")
    failing(monkeypatch, wrapped)
    code, _, told = hedonic("run", "toy")
    assert (code, "hedonic: no such file" in told) == (2, True)


def test_a_full_disk_is_told_with_the_file_and_what_makes_room(hedonic, monkeypatch):
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "circus.ini"))
    code, _, told = hedonic("run", "toy")
    assert (code, "no space is left for circus.ini. Make room" in told, "hedonic gc" in told) == (
        1,
        True,
        True,
    )
    failing(monkeypatch, OSError(errno.EACCES, "Permission denied", "circus.ini"))
    assert "PermissionError" in hedonic("run", "toy")[2]


def test_an_error_nobody_foresaw_exits_1_and_names_debug(hedonic, monkeypatch):
    failing(monkeypatch, ZeroDivisionError("division by zero"))
    code, _, told = hedonic("run", "toy")
    assert code == 1
    assert "hedonic: ZeroDivisionError: division by zero\n" in told
    assert "--debug shows where" in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback(hedonic, monkeypatch):
    failing(monkeypatch, UserError("no such file"))
    code, _, told = hedonic("run", "toy", "--debug")
    assert (code, "Traceback (most recent call last)" in told) == (2, True)


def test_with_json_the_error_is_the_object_on_the_last_line(hedonic, monkeypatch):
    failing(monkeypatch, UserError("no such file"))
    code, out, _ = hedonic("run", "toy", "--json")
    assert code == 2
    assert json.loads(out.splitlines()[-1]) == {"error": {"exit_code": 2, "message": "no such file"}}


def test_an_interrupt_is_told_without_traceback(hedonic, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    code, _, told = hedonic("run", "toy")
    assert (code, "Traceback" in told) == (130, False)


def test_outside_a_project_a_command_says_so_and_exits_2(hedonic, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    code, _, told = hedonic("status")
    assert code == 2
    assert "not inside a Hedonic project" in told
    assert hedonic("--help")[0] == 0


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("run", "--no-such-option"), ("run", "toy", "--trials", "0")]
)
def test_a_command_line_that_is_not_understood_exits_2(hedonic, arguments):
    assert hedonic(*arguments)[0] == 2


def test_every_command_has_help():
    runner = CliRunner()
    for name in ("run", "serve", "down", "predict", "status", "doctor", "env"):
        result = runner.invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_a_reason_is_not_made_up():
    assert edge._stated_reason(ValueError("x")) is None


def test_preparing_leaves_what_is_set_but_for_the_numeric_environment(project):
    environment = {"MLFLOW_TRACKING_URI": "http://mine", "OMP_NUM_THREADS": "2"}
    prepare(environment)
    assert environment["MLFLOW_TRACKING_URI"] == "http://mine"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["OPENBLAS_CORETYPE"] == NUMERIC_ENVIRONMENT["OPENBLAS_CORETYPE"]
    assert environment["PREFECT_HOME"] == str(project / ".hedonic" / "prefect")
    assert environment["DO_NOT_TRACK"] == "1"
    assert "PREFECT_API_URL" not in environment


def test_nothing_heavy_is_imported_before_the_environment_is_set(project):
    script = """
import sys
from hedonic.cli import edge, environment
heavy = {"numpy", "pandas", "prefect", "mlflow", "sklearn", "bentoml"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_exports_survive_a_shell(project, hedonic):
    (project / "a 'quoted' place").mkdir()
    os.environ["HEDONIC_HOME"] = str(project / "a 'quoted' place")
    code, out, _ = hedonic("env")
    assert code == 0
    told = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf "%s|%s" "$HEDONIC_HOME" "$PREFECT_API_URL"', "sh", out],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    settings = load_settings()
    assert told == f"{settings.home}|{settings.environment()['PREFECT_API_URL']}"


def test_the_path_is_exported_only_when_our_commands_are_not_on_it(tmp_path):
    assert export_lines({"A": "b c"}, f"/usr/bin:{tmp_path}", tmp_path) == ["export A='b c'"]
    line = f'export PATH={shlex.quote(str(tmp_path))}:"$PATH"'
    assert export_lines({}, f"/usr/bin:{tmp_path}/x", tmp_path) == [line]
