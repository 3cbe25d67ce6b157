"""The audit: clean is green, vulnerable is red, and so is everything about which nobody can tell."""

from __future__ import annotations

from datetime import date

import pytest

from delivery.audit import Accepted, Finding, judge
from tests.pipeline.osv import vulnerability_service
from tests.pipeline.trees import make, make_tree
from tests.ports import free_port

FINDING = Finding("orjson", "3.11.0", "PLANTED-2026-1", ("CVE-2026-99999",), ("3.11.1",))
TODAY = date(2026, 11, 28)


def lock(version):
    return {"lock.txt": f"orjson=={version} \\\n    --hash=sha256:{'a' * 64}\n"}


def audit(tmp_path, version, service):
    tree = make_tree(tmp_path / "tree", lock(version))
    return make(tree, "audit", "AUDITED=lock.txt", f"OSV={service}")


@pytest.mark.slow
def test_nothing_known_against_what_is_locked_is_green(tmp_path):
    with vulnerability_service("canary", "planted") as service:
        done = audit(tmp_path, "3.11.1", service)
    assert done.returncode == 0, done.stderr
    assert "1 locks, no problems" in done.stdout


@pytest.mark.slow
def test_a_vulnerable_version_is_red_and_named_with_what_mends_it(tmp_path):
    with vulnerability_service("canary", "planted") as service:
        done = audit(tmp_path, "3.11.0", service)
    assert done.returncode != 0
    assert "orjson 3.11.0: CVE-2026-99999 = PLANTED-2026-1: mended in 3.11.1" in done.stderr


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_is_red(tmp_path):
    done = audit(tmp_path, "3.11.1", f"http://127.0.0.1:{free_port()}/v1/query")
    assert done.returncode != 0
    assert "pip-audit ended with 1" in done.stderr
    assert "no problems" not in done.stdout


@pytest.mark.slow
def test_a_service_that_knows_nothing_is_red(tmp_path):
    with vulnerability_service() as service:
        done = audit(tmp_path, "3.11.1", service)
    assert done.returncode != 0
    assert "knows nothing against jinja2==2.4.1" in done.stderr


def test_an_accepted_advisory_is_let_through_until_its_day():
    accepted = [Accepted("CVE-2026-99999", "we parse our own files alone", TODAY)]
    assert list(judge([FINDING], accepted, TODAY)) == []
    (told,) = judge([FINDING], accepted, date(2026, 11, 29))
    assert "was accepted until 2026-11-28 (we parse our own files alone)" in told
    assert list(judge([FINDING], [Accepted("CVE-2026-1", "another", TODAY)], TODAY))
