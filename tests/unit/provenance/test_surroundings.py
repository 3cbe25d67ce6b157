"""Code, lock, commit, source and toolchain of now are held against those that made a release."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hedonic import toolchain as toolchain_module
from hedonic.lineage import code_digest, lock_digest, step_sources
from hedonic.model.manifest import ReleaseRecord, read_manifest
from hedonic.provenance.check import Check
from hedonic.provenance.origin import Origin
from hedonic.provenance.surroundings import FLOW, surrounding_checks
from hedonic.toolchain import toolchain
from tests.lived_in import LivedIn


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def code(home: LivedIn) -> LivedIn:
    """A home in a repository whose one commit holds the code that made the release."""
    root = home.settings.root
    (root / "flows").mkdir()
    (root / FLOW).write_text("import json\n")
    (root / "requirements.txt").write_text("numpy==2.4.0 \\\n    --hash=sha256:aa\n")
    git(root, "init", "-q")
    git(root, "add", FLOW, "requirements.txt")
    git(root, "commit", "-q", "-m", "first")
    return home


def checks(home: LivedIn, **record: object) -> dict[str, Check]:
    """Return the checks of a release that was made of the code, lock and toolchain as they are now."""
    origin = Origin.find(home.settings, "houses", home.release, ())
    root, manifest = home.settings.root, read_manifest(home.folder)
    made = {"code": code_digest(root, step_sources(root, FLOW)), "lock": lock_digest(root)}
    beside = json.loads((home.folder / "record.json").read_text()) | record
    origin.__dict__["manifest"] = manifest.model_copy(update=made)
    origin.__dict__["record"] = ReleaseRecord.model_validate(beside)
    return {check.what: check for check in surrounding_checks(origin)}


def test_what_is_as_it_was_is_verified(code: LivedIn) -> None:
    sha = git(code.settings.root, "rev-parse", "HEAD")
    found = checks(code, commit=sha, toolchain=toolchain())
    assert {found[what].status for what in ("code", "lock", "commit", "toolchain", "source")} == {"verified"}
    assert found["commit"].told == "its code made the release"


def test_a_dirty_tree_is_flagged_whether_or_not_it_touched_the_code(code: LivedIn) -> None:
    sha = git(code.settings.root, "rev-parse", "HEAD")
    found = checks(code, commit=f"{sha}-dirty")["commit"]
    assert found.status == "verified"
    assert found.told == "made with uncommitted changes; none of them in the code that made it"
    (code.settings.root / FLOW).write_text("import json\nx = 1\n")
    found = checks(code, commit=f"{sha}-dirty")["commit"]
    assert found.status == "differs"
    assert found.told.startswith("made with uncommitted changes: its code is another (")


def test_a_commit_that_git_does_not_have_is_missing_and_one_never_recorded_unchecked(code: LivedIn) -> None:
    assert checks(code, commit="0" * 40)["commit"].status == "missing"
    assert checks(code, commit=None)["commit"].status == "unchecked"


def test_code_that_moved_on_names_the_commit_to_check_out(code: LivedIn) -> None:
    root = code.settings.root
    sha = git(root, "rev-parse", "HEAD")
    origin = Origin.find(code.settings, "houses", code.release, ())
    made = {"code": code_digest(root, step_sources(root, FLOW)), "lock": lock_digest(root)}
    (root / FLOW).write_text("import json\nx = 1\n")
    (root / "requirements.txt").write_text("numpy==2.4.1 \\\n    --hash=sha256:bb\n")
    origin.__dict__["manifest"] = read_manifest(code.folder).model_copy(update=made)
    for commit, told in (
        (sha, f"git checkout {sha}"),
        (f"{sha}-dirty", f"it was commit {sha} with uncommitted changes, which are not kept"),
        (None, "no commit was recorded with it"),
    ):
        beside = json.loads((code.folder / "record.json").read_text()) | {"commit": commit}
        origin.__dict__["record"] = ReleaseRecord.model_validate(beside)
        found = {check.what: check for check in surrounding_checks(origin)}
        assert (found["code"].status, found["code"].told) == ("differs", told)
        assert found["lock"].status == "differs"


def test_another_toolchain_is_named_by_what_moved(code: LivedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    then = toolchain() | {"numpy": "1.0"}
    found = checks(code, toolchain=then)["toolchain"]
    assert (found.status, found.told) == ("differs", f"numpy 1.0 -> {toolchain()['numpy']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    found = checks(code, toolchain=then | {"numpy": toolchain()["numpy"]})["toolchain"]
    assert found.told == "OMP_NUM_THREADS 1 -> 8"
    assert checks(code)["toolchain"].status == "unchecked"


def test_a_toolchain_says_python_and_libraries_and_passes_over_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(toolchain_module, "NUMERIC_PACKAGES", ("numpy", "no-such-distribution"))
    found = toolchain()
    assert found.keys() >= {"python", "numpy", "OPENBLAS_CORETYPE"}
    assert "no-such-distribution" not in found


def test_a_source_that_changed_and_a_contract_that_changed_are_told_apart(code: LivedIn) -> None:
    found = checks(code)
    assert found["contract in expectations/"].status == "missing"
    (code.settings.root / code.contract.source.uri).write_bytes(b"other rows")
    found = checks(code)
    assert found["source"].status == "differs"
    elsewhere = checks(code, source_uri="s3://bucket/houses.parquet")["source"]
    assert (elsewhere.status, elsewhere.recorded) == ("unchecked", code.snapshot.source_sha256)
    assert checks(code, source_uri=None)["source"].status == "unchecked"
