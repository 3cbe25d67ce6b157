"""The books of the tools: whether MLflow and Optuna still tell what was written down about a release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hedonic.model.recipe import Recipe
from hedonic.model.search import open_storage
from hedonic.promotion.registry.store import model_name
from hedonic.promotion.registry.version_facts import version_facts
from hedonic.provenance.check import Check, unchecked
from hedonic.provenance.origin import Origin


def book_checks(origin: Origin) -> Iterator[Check]:
    """Yield a check of the model version, the MLflow run, and the study with its trial."""
    yield from _check_version(origin)
    yield _check_trial(origin)


def _check_version(origin: Origin) -> Iterator[Check]:
    record = origin.record
    run = record.mlflow_run_id if record else origin.crowning.mlflow_run if origin.crowning else None
    if record is None or record.version is None:
        yield unchecked("model version", None, "nobody wrote it down")
        yield unchecked("MLflow run", run, "without its model version it is not looked for")
        return
    name = f"{model_name(origin.dataset)} version {record.version}"
    facts = version_facts(origin.settings, origin.dataset, record.version)
    if facts is None:
        told = "MLflow has no such version"
        yield Check(what="model version", recorded=name, found=None, status="missing", told=told)
        yield unchecked("MLflow run", run, told)
        return
    faults = []
    if facts.release != origin.release:
        faults.append(f"MLflow says that it became release {(facts.release or 'none')[:16]}")
    if facts.model is not None and facts.model != facts.recorded_model:
        faults.append("its files in MLflow are not those that were registered")
    gone = "; its files are gone from MLflow" if facts.model is None else ""
    yield Check(
        what="model version",
        recorded=name,
        found=name,
        status="differs" if faults else "verified",
        told="; ".join(faults) + gone,
    )
    status = "missing" if not facts.known else "verified" if facts.run_id == run else "differs"
    yield Check.model_validate(
        {"what": "MLflow run", "recorded": run, "found": facts.run_id if facts.known else None,
         "status": status}
    )  # fmt: skip


def _check_trial(origin: Origin) -> Check:
    """Return whether the trial, as Optuna's journal has it, found the recipe that the manifest names."""
    record = origin.record
    if record is None or record.study is None or record.trial is None:
        return unchecked("study and trial", None, "nobody wrote them down")
    name = f"{record.study}, trial {record.trial}"
    if record.trial < 0:
        return unchecked("study and trial", name, "the naive model was best: it is scored beside the study")
    studies = origin.settings.studies
    if isinstance(studies, Path) and not studies.is_file():
        told = f"{studies} is not there"
        return Check(what="study and trial", recorded=name, found=None, status="missing", told=told)
    storage = open_storage(studies)
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name(record.study))
        attributes = trials[record.trial].user_attrs
    except (KeyError, IndexError):
        told = f"not in {studies}"
        return Check(what="study and trial", recorded=name, found=None, status="missing", told=told)
    if origin.manifest is None:
        return unchecked("study and trial", name, "the manifest, which names the recipe, cannot be read")
    recipe = Recipe.model_validate(origin.manifest.configuration["recipe"])
    same = (attributes.get("family"), attributes.get("parameters")) == (recipe.family, recipe.parameters)
    return Check(
        what="study and trial",
        recorded=name,
        found=name,
        status="verified" if same else "differs",
        told="" if same else "the trial tried another recipe than the manifest names",
    )
