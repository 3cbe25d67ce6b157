"""``hedonic doctor`` is silent on a sound installation and fires on each broken one, with the fix."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import sqlite3

import pytest

from hedonic.cli import checkup
from hedonic.promotion.history import Entry, History
from hedonic.settings import load_settings
from tests.ports import free_port as a_free_port

PYPROJECT = """
[project]
dependencies = ["pytest>=1", "no-such-thing>=1; python_version < '3'"]
[project.optional-dependencies]
factory = ["typer>=0.1,<99"]
dev = ["not-installed>=1"]
"""


@pytest.fixture
def sound(project, monkeypatch):
    (project / "pyproject.toml").write_text(PYPROJECT)
    version = checkup._installed("pytest")
    pins = ["pytest==0.1 ; python_full_version < '3'", f"pytest=={version}"]
    lock = "".join(f"{pin} \\\n    --hash=sha256:00\n" for pin in pins)
    (project / "requirements.txt").write_text(lock)
    for name in ("FRONT_PAGE", "PREFECT", "MLFLOW", "OPTUNA"):
        os.environ[f"HEDONIC_PORTS__{name}"] = str(a_free_port())
    return project


def problems(hedonic):
    code, out, _ = hedonic("doctor", "--json")
    checks = json.loads(out)["checks"]
    wrong = {check["name"]: check for check in checks if not check["ok"]}
    assert code == (1 if wrong else 0)
    return wrong


def test_a_sound_installation_has_no_problem(hedonic, sound):
    assert problems(hedonic) == {}
    code, out, _ = hedonic("doctor")
    assert (code, "problem" in out) == (0, False)


def test_a_problem_is_told_with_its_fix(hedonic, sound):
    (sound / "expectations" / "broken.yaml").write_text("format_version: 1\n")
    code, out, _ = hedonic("doctor")
    assert code == 1
    assert "problem" in out
    assert "contract broken: " in out
    assert "fix: Correct expectations/broken.yaml" in out


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)]
)
def test_python_is_3_11_to_3_13(version, ok):
    assert checkup.check_python(version).ok is ok


def test_a_package_outside_its_bounds_or_missing_is_named(hedonic, sound):
    (sound / "pyproject.toml").write_text(PYPROJECT.replace('>=1"', '>=999"').replace("typer", "no-typer"))
    seen = problems(hedonic)["bounds"]["seen"]
    assert "pytest is " in seen
    assert "wanted >=999" in seen
    assert "no-typer is missing" in seen


def test_a_package_that_is_not_the_locked_version_is_named(hedonic, sound):
    (sound / "requirements.txt").write_text("pytest==0.1 \\\n    --hash=sha256:00\nnot-here==1\n")
    assert problems(hedonic)["lock"]["seen"].startswith("not the locked version: pytest")
    (sound / "requirements.txt").unlink()
    assert problems(hedonic)["lock"]["seen"] == "no requirements.txt"


def test_a_missing_libgomp_is_told_with_the_apt_line(hedonic, sound, monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert problems(hedonic)["libgomp"]["fix"] == "apt-get install -y libgomp1"


def test_a_home_that_cannot_be_written_is_told(hedonic, sound, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkup.tempfile, "TemporaryFile", refuse)
    assert "Permission denied" in problems(hedonic)["home"]["seen"]


@pytest.mark.parametrize(("free", "ok"), [(1.9e9, False), (2e9, True)])
def test_a_disk_needs_two_gigabytes(tmp_path, monkeypatch, free, ok):
    usage = type(shutil.disk_usage(tmp_path))(10e9, 0, free)
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _: usage)
    assert checkup.check_disk(tmp_path / "not" / "there").ok is ok


def test_a_contract_that_cannot_be_read_is_told(hedonic, sound):
    (sound / "expectations" / "bad.yaml").write_text("name: bad\n")
    assert "missing; add this key" in problems(hedonic)["contract bad"]["seen"]


def test_a_broken_store_is_told(hedonic, sound):
    home = load_settings().home
    for place in ("prefect/prefect.db", "mlflow/mlflow.db", "history.db"):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).write_bytes(b"not a database" * 100)
    assert set(problems(hedonic)) == {"prefect's store", "mlflow's store", "history"}


def test_a_sound_store_passes_and_a_changed_history_does_not(hedonic, sound):
    home = load_settings().home
    history = History(load_settings().history)
    history.append(Entry(dataset="toy", kind="kept", actor="ana", reason="x"))
    history.close()
    (home / "mlflow").mkdir()
    sqlite3.connect(home / "mlflow" / "mlflow.db").execute("CREATE TABLE a (b)").connection.close()
    assert problems(hedonic) == {}
    with sqlite3.connect(home / "history.db") as connection:
        connection.execute("DROP TRIGGER hedonic_history_no_update")
        connection.execute("UPDATE hedonic_history SET body = replace(body, 'ana', 'eve')")
    connection.close()
    assert "record 1: its content was changed" in problems(hedonic)["history"]["seen"]


def test_a_port_held_by_another_program_is_told(hedonic, sound, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        found = problems(hedonic)[f"port {free_port}"]
    assert found["seen"] == "endpoint toy: another program"
    assert "serve.port in toy.yaml" in found["fix"]


def test_two_parts_meant_for_the_same_port_are_told(hedonic, sound, free_port):
    os.environ["HEDONIC_PORTS__OPTUNA"] = str(free_port)
    assert problems(hedonic)[f"port {free_port}"]["seen"] == "meant for optuna and for endpoint toy"
