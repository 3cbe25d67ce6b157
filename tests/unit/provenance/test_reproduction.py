"""What cannot be made again is refused up front, by name; nothing is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hedonic.errors import HedonicError, UserError
from hedonic.model.manifest import MANIFEST, Manifest, read_manifest
from hedonic.provenance.reproduction import Reproduction, reproduce
from hedonic.provenance.surroundings import FLOW
from tests.lived_in import LivedIn


@pytest.fixture
def project(home: LivedIn) -> LivedIn:
    (home.settings.root / "flows").mkdir()
    (home.settings.root / FLOW).write_text("import json\n")
    (home.settings.root / "requirements.txt").write_text("numpy==2.4.0\n")
    return home


def statuses(found: Reproduction) -> dict[str, str]:
    return {check.what: check.status for check in found.ingredients}


def test_other_code_and_another_lock_are_said_before_anything_is_made(project: LivedIn) -> None:
    told = []
    found = reproduce(project.settings, "houses", "1", on_ingredients=told.extend)
    assert told == list(found.ingredients)
    assert statuses(found) == {
        "snapshot": "verified", "contract": "verified", "code": "differs", "lock": "differs",
        "configuration": "verified", "toolchain": "unchecked",
    }  # fmt: skip
    assert found.results is None
    assert not found.same
    assert str(found.difference).startswith(f"code: recorded {'d' * 64}, here ")
    assert "no commit was recorded with it" in str(found.difference)
    assert not (project.settings.home / "reproductions").exists()


def rewritten(home: LivedIn, **facts: object) -> LivedIn:
    """Return the home with a promoted release whose manifest says otherwise."""
    from dataclasses import replace

    content = read_manifest(home.folder).model_dump(mode="json") | facts
    manifest = Manifest.model_validate(content)
    record = json.loads((home.folder / "record.json").read_text()) | {"release": manifest.digest}
    (home.folder / MANIFEST).write_bytes(manifest.to_bytes())
    (home.folder / "record.json").write_text(json.dumps(record))
    home.folder.rename(home.folder.with_name(manifest.digest))
    other = replace(home, release=manifest.digest)
    other.append(version=2)
    return other


def test_a_study_that_time_cut_or_that_names_no_families_is_said_up_front(project: LivedIn) -> None:
    cut = rewritten(project, reproducible=False)
    found = reproduce(cut.settings, "houses", "2")
    assert statuses(found)["configuration"] == "differs"
    configuration = read_manifest(cut.folder).configuration
    del configuration["families"]
    older = rewritten(cut, reproducible=True, configuration=configuration)
    found = reproduce(older.settings, "houses", older.release[:8])
    assert statuses(found)["configuration"] == "unchecked"


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("snapshots/houses/{snapshot}/snapshot.parquet", "snapshot .* missing: .*restore it from a backup"),
        ("releases/houses/{release}/model/point/trees.txt", "release .* differs: .*trees.txt: missing"),
        ("releases/houses/{release}/manifest.json", "release .* missing: not in"),
    ],
)
def test_without_rows_or_release_nothing_is_made(project: LivedIn, file: str, told: str) -> None:
    names = {"snapshot": project.snapshot.digest, "release": project.release}
    (project.settings.home / file.format(**names)).unlink()
    with pytest.raises(UserError, match=told):
        reproduce(project.settings, "houses", "1", anyway=True)


def test_a_version_that_was_kept_has_no_release_to_make_again(project: LivedIn) -> None:
    project.append(kind="kept", release=None, candidate="e" * 64, version=2)
    with pytest.raises(UserError, match="houses: 2 was kept, so no release of it was made. hedonic explain"):
        reproduce(project.settings, "houses", "2")


def test_a_report_that_is_gone_is_named(project: LivedIn) -> None:
    for report in Path(project.settings.validations).glob("*.json"):
        report.unlink()
    with pytest.raises(HedonicError, match="validation report .* is gone from"):
        reproduce(project.settings, "houses", "1")
