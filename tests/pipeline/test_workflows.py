"""What the workflows promise, read from them as they are."""

from __future__ import annotations

import re

import pytest
import yaml

from delivery.control_tower import Leave
from tests.project import ROOT

FOLDER = ROOT / ".github/workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = [(name, job, content) for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()]
STEPS = [(f"{name}/{job}", step) for name, job, content in JOBS for step in content.get("steps", [])]


def triggers(name):
    return WORKFLOWS[name][True]  # YAML 1.1 reads `on` as a boolean


def test_there_are_the_six():
    assert set(WORKFLOWS) == {
        "ci", "nightly-latest", "nightly-retrain", "release", "retrain", "weekly-drills",
    }  # fmt: skip


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_begins_with_no_rights_and_never_runs_twice_at_once(name):
    assert WORKFLOWS[name]["permissions"] == {}
    assert WORKFLOWS[name]["concurrency"]["group"].startswith(name)
    assert all("permissions" in job for job in WORKFLOWS[name]["jobs"].values())


def test_every_target_that_is_called_exists():
    makefile = (ROOT / "Makefile").read_text()
    called = {
        target
        for _, step in STEPS
        for line in re.findall(r"^\s*make ([\w. /-]+?)(?: 2>&1)?(?: \||$)", step.get("run", ""), re.MULTILINE)
        for target in line.split()
    }
    assert {"structure", "lint", "coverage", "audit", "secrets", "retrain", "take", "newest"} <= called
    for target in called:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_no_step_holds_a_long_lived_key_or_pastes_what_someone_typed():
    for where, step in STEPS:
        assert "${{" not in step.get("run", ""), where
        text = str(step)
        assert not re.search(r"secrets\.(?!HEDONIC_HISTORY_URL|DEPLOY_HOOK_URL|NOTIFY_HOOK_URL)", text), where
        assert "access-key" not in text, where


def test_a_crash_before_a_pipe_is_red():
    piped = [(where, step["run"]) for where, step in STEPS if re.search(r"\|\s*tee", step.get("run", ""))]
    assert any("delivery.changes" in run for _, run in piped)
    for where, run in piped:
        assert run.startswith("set -o pipefail\n"), where


def test_the_tower_excuses_a_skipped_job_by_what_its_condition_reads_and_no_other():
    for name, flow in WORKFLOWS.items():
        jobs = flow["jobs"]
        if "control-tower" not in jobs:
            assert all("uses" in job for job in jobs.values()), name  # what it calls has its own
            continue
        (tower,) = (step["run"] for step in jobs["control-tower"]["steps"] if "tower" in step.get("run", ""))
        leaves = [Leave.parse(text) for text in re.findall(r"--may-skip (\S+)", tower)]
        skippable = {job for job, content in jobs.items() if content.get("if", "always()") != "always()"}
        assert {leave.job for leave in leaves} == skippable, name
        for leave in leaves:
            assert leave.output in jobs[leave.gate]["outputs"], name
    ci = WORKFLOWS["ci"]["jobs"]
    assert ci["tests"]["if"] == "needs.structure.outputs.code == 'true'"
    assert ci["image"]["if"] == "needs.structure.outputs.image == 'true'"


def test_the_layers_that_are_kept_are_those_of_the_build_itself():
    job = WORKFLOWS["ci"]["jobs"]["image"]
    (kept,) = (s["with"]["path"] for s in job["steps"] if "buildx-" in str(s.get("with", {}).get("key")))
    assert job["env"]["BUILDX_CACHE"] == kept
    assert "buildx" not in (ROOT / "Makefile").read_text()
    assert "BUILDX_CACHE" not in str(WORKFLOWS["release"])


def test_structure_comes_first_and_the_others_run_side_by_side_and_all_hold_the_tower():
    jobs = WORKFLOWS["ci"]["jobs"]
    gates = set(jobs) - {"structure", "control-tower"}
    assert gates == {"lint", "tests", "security", "image"}
    assert all(jobs[gate]["needs"] == "structure" for gate in gates)
    assert set(jobs["control-tower"]["needs"]) == gates | {"structure"}
    assert jobs["control-tower"]["if"] == "always()"


def test_without_a_plain_yes_retraining_needs_a_champion_and_a_run_by_hand_is_a_rehearsal():
    inputs = triggers("retrain")["workflow_dispatch"]["inputs"]
    assert inputs["bootstrap"] == {**inputs["bootstrap"], "type": "boolean", "default": False}
    assert inputs["debug"]["default"] is True
    assert triggers("release")["workflow_dispatch"]["inputs"]["debug"]["default"] is True
    (step,) = (step for _, step in STEPS if step.get("run") == "make retrain")
    assert step["env"]["BOOTSTRAP"] == "${{ inputs.bootstrap || false }}"


def test_every_data_set_is_retrained_every_night_whatever_becomes_of_the_others():
    assert triggers("nightly-retrain")["schedule"]
    job = WORKFLOWS["nightly-retrain"]["jobs"]["retrain"]
    assert job["uses"] == "./.github/workflows/retrain.yml"
    contracts = sorted(path.stem for path in (ROOT / "expectations").glob("*.yaml"))
    assert job["strategy"] == {"fail-fast": False, "matrix": {"dataset": contracts}}
    assert job["with"] == {"dataset": "${{ matrix.dataset }}"}
    granted = WORKFLOWS["retrain"]["jobs"]["release"]["permissions"]
    assert granted.items() <= job["permissions"].items()
    assert set(job["secrets"]) == set(triggers("retrain")["workflow_call"]["secrets"])


def test_the_artifacts_of_two_data_sets_in_one_run_are_told_apart():
    names = [
        step["with"]["name"] for where, step in STEPS
        if "-artifact@" in step.get("uses", "") and where.startswith(("retrain/", "release/"))
    ]  # fmt: skip
    assert len(names) == 5
    assert all(name.endswith("-${{ inputs.dataset }}") for name in names), names


def test_the_later_job_takes_the_very_release_that_the_earlier_one_told():
    release = WORKFLOWS["retrain"]["jobs"]["release"]
    assert release["if"] == "needs.retrain.outputs.outcome == 'promoted'"
    assert release["with"]["release"] == "${{ needs.retrain.outputs.release }}"
    image = WORKFLOWS["release"]["jobs"]["image"]
    assert image["env"]["RELEASE"] == "${{ inputs.release }}"
    runs = [step.get("run") for step in image["steps"]]
    assert runs.index("make take") < runs.index("make image")


def test_what_is_deployed_was_checked_and_shipped_and_is_no_rehearsal():
    jobs = WORKFLOWS["release"]["jobs"]
    assert jobs["ship"]["needs"] == "image"
    assert jobs["deploy"]["needs"] == ["image", "ship"]
    assert jobs["deploy"]["if"] == "needs.ship.outputs.rehearsal == 'false'"


def test_what_is_deployed_is_the_digest_that_was_shipped_and_a_tag_never():
    jobs = WORKFLOWS["release"]["jobs"]
    assert {name: jobs["ship"]["outputs"][name] for name in ("ghcr", "dockerhub", "ecr")} == {
        name: f"${{{{ steps.ship.outputs.{name} }}}}" for name in ("ghcr", "dockerhub", "ecr")
    }
    deploy = jobs["deploy"]
    (plan,) = (step for step in deploy["steps"] if step.get("id") == "plan")
    assert "delivery.deployment" in plan["run"]
    for name in ("ghcr", "dockerhub", "ecr"):
        assert plan["env"][name.upper()] == f"${{{{ needs.ship.outputs.{name} }}}}"
    images = [step["env"]["IMAGE"] for step in deploy["steps"] if "IMAGE" in step.get("env", {})]
    assert images == ["${{ steps.plan.outputs.image }}"] * 2
    assert deploy["outputs"]["undone"] == "${{ steps.plan.outputs.undone }}"


def test_a_release_ships_under_the_version_that_the_shared_history_gives_it():
    image = WORKFLOWS["release"]["jobs"]["image"]
    (step,) = (step for step in image["steps"] if step.get("id") == "facts")
    assert "make version" in step["run"]
    assert image["env"]["HEDONIC_HISTORY_URL"] == "${{ secrets.HEDONIC_HISTORY_URL }}"
    assert "record.json" not in str(image)


def test_the_bill_of_materials_outlives_the_runner():
    steps = WORKFLOWS["release"]["jobs"]["image"]["steps"]
    (kept,) = (step for step in steps if ".cdx.json" in str(step.get("with", {}).get("path")))
    assert kept["uses"].startswith("actions/upload-artifact@")
    assert kept["with"]["if-no-files-found"] == "error"
    # A folder with a dot is hidden to the action unless it is told otherwise.
    assert kept["with"]["include-hidden-files"] is True
    assert steps.index(kept) > [step.get("run") for step in steps].index("make image")


def test_the_drills_and_the_gates_rates_run_every_week_with_an_end():
    assert triggers("weekly-drills")["schedule"]
    jobs = WORKFLOWS["weekly-drills"]["jobs"]
    for job, target in (("drills", "make drills 2>&1"), ("gate-rates", "make gate-rates")):
        assert any(target in step.get("run", "") for step in jobs[job]["steps"]), job
        assert jobs[job]["timeout-minutes"] <= 360
        assert jobs[job]["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", ["retrain", "release", "nightly-latest", "weekly-drills"])
def test_a_failure_is_told(name):
    tower = WORKFLOWS[name]["jobs"]["control-tower"]
    (told,) = (step for step in tower["steps"] if step.get("name") == "Tell someone")
    assert "failure()" in told["if"]
    assert set(tower["needs"] if isinstance(tower["needs"], list) else [tower["needs"]]) == (
        set(WORKFLOWS[name]["jobs"]) - {"control-tower"}
    )
