"""MLflow's and Optuna's books are held against what was written down with a release."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hedonic.model.manifest import ReleaseRecord, read_manifest
from hedonic.model.search import open_storage
from hedonic.promotion.registry.version_facts import VersionFacts
from hedonic.provenance import books
from hedonic.provenance.check import Check
from hedonic.provenance.origin import Origin
from tests.lived_in import LivedIn


def checks(home: LivedIn, facts: VersionFacts | None, **record: Any) -> dict[str, Check]:
    """Return the checks of the books where MLflow says ``facts``."""
    origin = Origin.find(home.settings, "houses", home.release, ())
    beside = json.loads((home.folder / "record.json").read_text()) | record
    origin.__dict__["record"] = ReleaseRecord.model_validate(beside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "version_facts", lambda *_: facts)
        return {check.what: check for check in books.book_checks(origin)}


def facts(home: LivedIn, **changes: Any) -> VersionFacts:
    known: dict[str, Any] = {"run_id": "run-1", "known": True, "release": home.release, "model": "m",
                             "recorded_model": "m"}  # fmt: skip
    return VersionFacts(**{**known, **changes})


def test_a_version_that_says_what_was_written_down_is_verified(home: LivedIn) -> None:
    found = checks(home, facts(home))
    assert (found["model version"].status, found["model version"].told) == ("verified", "")
    assert (found["MLflow run"].status, found["MLflow run"].found) == ("verified", "run-1")


@pytest.mark.parametrize(
    ("changes", "what", "status", "told"),
    [
        (
            {"release": "f" * 64},
            "model version",
            "differs",
            "MLflow says that it became release ffffffffffffffff",
        ),
        ({"release": None}, "model version", "differs", "became release none"),
        (
            {"model": "other"},
            "model version",
            "differs",
            "files in MLflow are not those that were registered",
        ),
        ({"model": None}, "model version", "verified", "its files are gone from MLflow"),
        ({"run_id": "run-2"}, "MLflow run", "differs", ""),
        ({"known": False}, "MLflow run", "missing", ""),
    ],
)
def test_a_version_that_says_otherwise_is_named(
    home: LivedIn, changes: dict[str, Any], what: str, status: str, told: str
) -> None:
    found = checks(home, facts(home, **changes))[what]
    assert found.status == status
    assert told in found.told


def test_a_version_that_mlflow_lacks_is_missing_and_one_that_nobody_wrote_down_unchecked(
    home: LivedIn,
) -> None:
    found = checks(home, None)
    assert (found["model version"].status, found["MLflow run"].status) == ("missing", "unchecked")
    assert checks(home, None, version=None)["model version"].status == "unchecked"


def test_the_trial_must_have_tried_the_recipe_of_the_manifest(home: LivedIn) -> None:
    import optuna

    recipe = read_manifest(home.folder).configuration["recipe"]
    study = optuna.create_study(study_name="houses-1", storage=open_storage(home.settings.studies))
    for parameters in (recipe["parameters"], {"n_estimators": 1}):
        told = {"family": recipe["family"], "parameters": parameters}
        study.add_trial(optuna.trial.create_trial(value=0.1, user_attrs=told))
    statuses = {
        trial: checks(home, None, study="houses-1", trial=trial)["study and trial"].status
        for trial in (0, 1, 2, -1)
    }
    assert statuses == {0: "verified", 1: "differs", 2: "missing", -1: "unchecked"}
    assert checks(home, None, study="houses-2", trial=0)["study and trial"].status == "missing"
    home.settings.studies.unlink()
    assert checks(home, None, study="houses-1", trial=0)["study and trial"].status == "missing"
    assert not home.settings.studies.exists()
