"""The manifests: valid by Kubernetes' own schema, strict, and by our policy, without a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project import ROOT

KUBERNETES = ROOT / "deployments" / "kubernetes"
VALIDATE = ROOT / ".checks" / "bin" / "kubernetes-validate"
OVERLAYS = ("staging", "production", "blue-green")
SOURCES = sorted(
    path
    for folder in ("base", "components/postgres")
    for path in (KUBERNETES / folder).glob("*.yaml")
    if path.name != "kustomization.yaml"
)
Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(text) if one]


@cache
def overlay(name: str) -> tuple[Manifest, ...]:
    """Return the manifests of an overlay, as kustomize builds them."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine, and its kustomize is what builds an overlay")
    told = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return tuple(manifests(told.stdout))


def problems(content: list[Manifest] | tuple[Manifest, ...], folder: Path) -> str:
    """Return what Kubernetes' own schemas, strictly, have against the manifests."""
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(content))
    told = subprocess.run(
        [str(VALIDATE), "--strict", "--quiet", str(file)], capture_output=True, text=True, check=False
    )
    return told.stdout + told.stderr if told.returncode else ""


def pods(content: list[Manifest] | tuple[Manifest, ...]) -> Iterator[tuple[str, str, Manifest]]:
    """Yield kind, name and pod of everything that runs."""
    for one in content:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            name = one["metadata"].get("name", "flow-run")
            yield one["kind"], name, one["spec"]["template"]["spec"]


# Prefect's worker refuses a job without these where Kubernetes knows none and drops them.
MISPLACED = {"completions": 1, "parallelism": 1}


def job() -> Manifest:
    """Return the job of a flow run, as a cluster takes it: its blanks filled as a worker does."""
    template = json.loads((KUBERNETES / "job-template.json").read_text())
    filled = {
        "{{ command }}": ["prefect", "flow-run", "execute"],
        "{{ env }}": [{"name": "A", "value": "b"}],
        "{{ labels }}": {"a": "b"},
        "{{ name }}-": "run-",
        "{{ namespace }}": "hedonic",
        "{{ image }}": "hedonic-worker:latest",
    }

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        return filled.get(value, value) if isinstance(value, str) else value

    manifest: Manifest = fill(template["job_configuration"]["job_manifest"])
    pod = manifest["spec"]["template"]["spec"]
    manifest["spec"]["template"]["spec"] = {k: v for k, v in pod.items() if k not in MISPLACED}
    return manifest


def test_the_job_of_a_flow_run_has_all_without_which_prefects_worker_refuses_it():
    template = json.loads((KUBERNETES / "job-template.json").read_text())
    manifest = template["job_configuration"]["job_manifest"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    assert "labels" in manifest["metadata"]
    pod = manifest["spec"]["template"]["spec"]
    assert {key: pod.get(key) for key in MISPLACED} == MISPLACED
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["name"] == "prefect-job"


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_overlay_builds_what_is_valid(name, tmp_path):
    assert problems(overlay(name), tmp_path) == ""


def test_every_manifest_and_the_job_of_a_flow_run_are_valid(tmp_path):
    assert problems(everything(), tmp_path) == ""


def test_an_unknown_key_is_refused(tmp_path):
    manifest = job()
    manifest["spec"]["template"]["spec"]["containers"][0]["readonly"] = True
    assert "readonly" in problems([manifest], tmp_path)


def everything() -> list[Manifest]:
    return [*(m for path in SOURCES for m in manifests(path.read_text())), job()]


def test_everything_runs_unprivileged_and_within_bounds():
    seen = list(pods(everything()))
    assert len(seen) >= 10
    for kind, name, pod in seen:
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is (name == "worker"), name
        for container in pod["containers"]:
            tight = container["securityContext"]
            assert tight["allowPrivilegeEscalation"] is False, name
            assert tight["readOnlyRootFilesystem"] is True, name
            assert tight["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
            if kind != "Job" and name != "watcher":  # nobody asks the watcher anything
                assert {"readinessProbe", "livenessProbe"} <= container.keys(), name


def test_a_replacement_is_ready_before_one_leaves():
    for path in KUBERNETES.glob("base/endpoint-*.yaml"):
        by_kind = {one["kind"]: one for one in manifests(path.read_text())}
        deployment = by_kind["Deployment"]["spec"]
        assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        container = deployment["template"]["spec"]["containers"][0]
        leaves_after = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert leaves_after < deployment["template"]["spec"]["terminationGracePeriodSeconds"]
        least = by_kind["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
        assert by_kind["PodDisruptionBudget"]["spec"]["minAvailable"] < least


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_overlay_keeps_its_budget_below_its_replicas_and_its_own_namespace(name):
    content = overlay(name)
    least = {m["metadata"]["name"]: m["spec"]["minReplicas"] for m in content if "Autoscaler" in m["kind"]}
    for manifest in content:
        if manifest["kind"] == "PodDisruptionBudget":
            assert manifest["spec"]["minAvailable"] < least[manifest["metadata"]["name"]]
    wanted = "hedonic-staging" if name == "staging" else "hedonic"
    found = {m["metadata"].get("namespace", m["metadata"]["name"]) for m in content}
    assert found == {wanted}
    settings = next(
        m for m in content if m["kind"] == "ConfigMap" and m["metadata"]["name"] == "hedonic-settings"
    )
    assert settings["data"]["HEDONIC_ENVIRONMENT"] == ("staging" if name == "staging" else "production")


def test_blue_and_green_are_told_apart_by_everything_that_chooses():
    content = overlay("blue-green")
    named = {(m["kind"], m["metadata"]["name"]): m["spec"] for m in content if "spec" in m}
    service = named["Service", "endpoint-king-county"]["selector"]
    idle = named["Service", "endpoint-king-county-idle"]["selector"]
    assert (service["hedonic.colour"], idle["hedonic.colour"]) == ("blue", "green")
    for name, colour in (("endpoint-king-county", "blue"), ("endpoint-king-county-green", "green")):
        deployment = named["Deployment", name]
        assert deployment["selector"]["matchLabels"]["hedonic.colour"] == colour
        assert deployment["template"]["metadata"]["labels"]["hedonic.colour"] == colour


def test_both_deployments_of_a_postgres_make_the_same_databases():
    ours = (ROOT / "deployments" / "postgres" / "databases.sql").read_bytes()
    assert (KUBERNETES / "components" / "postgres" / "databases.sql").read_bytes() == ours
