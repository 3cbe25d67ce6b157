"""The manifests: valid by Kubernetes' own schema, strict, and by our policy, without a cluster."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from hedonic.settings import Settings
from tests.project import ROOT

KUBERNETES = ROOT / "deployments" / "kubernetes"
VALIDATE = ROOT / ".checks" / "bin" / "kubernetes-validate"
OVERLAYS = ("staging", "production", "blue-green")
SOURCES = sorted(
    path
    for folder in ("base", "endpoint-king-county", "components/postgres", "overlays/*")
    for path in KUBERNETES.glob(f"{folder}/*.yaml")
    if path.name != "kustomization.yaml"
)
ENDPOINTS = (KUBERNETES / "base" / "endpoint-california.yaml", *KUBERNETES.glob("endpoint-*/endpoint.yaml"))
USE_THE_DATABASE = (
    "prefect", "mlflow", "optuna", "front-page", "watcher", "deploy", "flow-run",
    "endpoint-king-county", "endpoint-california",
)  # fmt: skip
CALL_PREFECT = ("worker", "deploy", "watcher", "front-page", "flow-run")
Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(text) if one]


@cache
def overlay(name: str) -> tuple[Manifest, ...]:
    """Return the manifests of an overlay, as kustomize builds them."""
    return built(KUBERNETES / "overlays" / name)


def built(folder: Path) -> tuple[Manifest, ...]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine, and its kustomize is what builds an overlay")
    told = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
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
    assert len(ENDPOINTS) == 2
    for path in ENDPOINTS:
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


def named(content: tuple[Manifest, ...]) -> dict[tuple[str, str], Manifest]:
    return {(m["kind"], m["metadata"]["name"]): m for m in content}


def with_images(tmp_path: Path, name: str, **images: str) -> tuple[Manifest, ...]:
    """Return an overlay in which images are named, as `kustomize edit set image` does it."""
    copy = shutil.copytree(KUBERNETES, tmp_path / "kubernetes") / "overlays" / name / "kustomization.yaml"
    content = yaml.safe_load(copy.read_text())
    kept = [one for one in content.get("images", ()) if one["name"] not in images]
    content["images"] = [*kept, *({"name": old, "newName": new} for old, new in images.items())]
    copy.write_text(yaml.safe_dump(content))
    return built(copy.parent)


def settings_of(content: tuple[Manifest, ...]) -> dict[str, str]:
    found: dict[str, str] = named(content)["ConfigMap", "hedonic-settings"]["data"]
    return found


def containers(content: tuple[Manifest, ...] | list[Manifest]) -> dict[str, Manifest]:
    return {name: pod["containers"][0] for _, name, pod in pods(content)}


@pytest.mark.parametrize("name", OVERLAYS)
def test_jobs_of_flow_runs_are_given_the_image_and_the_namespace_that_the_overlay_is_built_with(
    name, tmp_path
):
    content = with_images(tmp_path, name, **{"hedonic-worker": "ghcr.io/us/hedonic-worker"})
    told = settings_of(content)
    image = containers(content)["deploy"]["image"]
    assert image.startswith("ghcr.io/us/hedonic-worker")
    assert told["HEDONIC_JOB__IMAGE"] == image
    assert told["HEDONIC_JOB__NAMESPACE"] == named(content)["Deployment", "worker"]["metadata"]["namespace"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_address_of_each_endpoint_is_a_service_and_its_champion_is_rolled_out_by_whoever_sets_images(
    name, monkeypatch, tmp_path
):
    content = overlay(name)
    for variable, value in settings_of(content).items():
        monkeypatch.setenv(variable, value)
    settings = Settings(home=tmp_path, root=ROOT)
    services = {m["metadata"]["name"] for m in content if m["kind"] == "Service"}
    services |= {"endpoint-king-county"} if name == "blue-green" else set()
    hosts = {rule["host"] for m in content if m["kind"] == "Ingress" for rule in m["spec"]["rules"]}
    for path in (ROOT / "expectations").glob("*.yaml"):
        assert urlsplit(settings.endpoint_address(path.stem, 1)).hostname in services
        assert urlsplit(settings.endpoint_page(path.stem, 1)).hostname in hosts
    assert (settings.roll_out, settings.work_pool) == ("external", "kubernetes")


def chosen(selector: Manifest, labels: dict[str, str]) -> bool:
    """Return whether a selector of labels chooses a pod."""
    known = {"key", "operator", "values"}
    expressions = selector.get("matchExpressions", ())
    assert all(one.keys() == known and one["operator"] == "In" for one in expressions)
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def labels_of(content: tuple[Manifest, ...]) -> dict[str, dict[str, str]]:
    """Return the labels of each pod, the flow runs' among them."""
    return {
        one["metadata"].get("name", "flow-run"): one["spec"]["template"]["metadata"]["labels"]
        for one in (*content, job())
        if one["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def may(content: tuple[Manifest, ...], way: str, who: str, whom: str | dict[str, str], port: int) -> bool:
    """Return whether a policy lets a pod send to (egress), or hear from (ingress), a pod or a network."""
    pods, side = labels_of(content), {"egress": "to", "ingress": "from"}[way]
    peer = {"podSelector": pods[whom]} if isinstance(whom, str) else {"ipBlock": whom}

    def meant(one: Manifest) -> bool:
        if "ipBlock" in peer:
            return one.get("ipBlock") == peer["ipBlock"]
        return "podSelector" in one and chosen(one["podSelector"], peer["podSelector"])

    return any(
        any(meant(one) for one in rule.get(side, ()))
        and ("ports" not in rule or any(one["port"] == port for one in rule["ports"]))
        for policy in content
        if policy["kind"] == "NetworkPolicy" and chosen(policy["spec"]["podSelector"], pods[who])
        for rule in policy["spec"].get(way, ())
    )


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_policy_speaks_of_pods_that_exist(name):
    content = overlay(name)
    there = labels_of(content).values()
    for policy in (one for one in content if one["kind"] == "NetworkPolicy"):
        spec = policy["spec"]
        selectors = [spec["podSelector"]]
        selectors += [
            peer["podSelector"]
            for way, side in (("ingress", "from"), ("egress", "to"))
            for rule in spec.get(way, ())
            for peer in rule.get(side, ())
            if "podSelector" in peer
        ]
        for selector in selectors:
            assert any(chosen(selector, labels) for labels in there), (policy["metadata"]["name"], selector)


@pytest.mark.parametrize("who", USE_THE_DATABASE)
def test_who_uses_the_database_reaches_it_and_nobody_else_does(who):
    staging, production = overlay("staging"), overlay("production")
    assert may(staging, "egress", who, "postgres", 5432)
    assert may(staging, "ingress", "postgres", who, 5432)
    private = {"cidr": "10.0.0.0/8"}
    assert may(production, "egress", who, private, 5432)
    assert not may(production, "egress", who, private, 6432)
    assert not may(production, "egress", "worker", private, 5432)


def test_an_endpoint_reaches_no_other_part():
    assert may(overlay("production"), "egress", "front-page", "prefect", 4200)
    for name in ("endpoint-king-county", "endpoint-california"):
        assert not may(overlay("production"), "egress", name, "prefect", 4200)
        assert not may(overlay("staging"), "egress", name, "prefect", 4200)


def test_prefect_asks_who_calls_and_everybody_who_calls_it_can_say_so():
    found = containers(everything())
    asks = {one["name"]: one.get("valueFrom") for one in found["prefect"]["env"]}
    assert asks["PREFECT_SERVER_API_AUTH_STRING"] == {
        "secretKeyRef": {"name": "hedonic-prefect", "key": "PREFECT_API_AUTH_STRING"}
    }
    told = {
        name
        for name, one in found.items()
        if {"secretRef": {"name": "hedonic-prefect"}} in one.get("envFrom", ())
    }
    assert told == set(CALL_PREFECT)


def test_endpoints_log_where_flow_runs_and_parts_look_for_answers():
    found = containers(everything())
    for name in ("endpoint-king-county", "endpoint-california", "flow-run", "front-page", "watcher"):
        assert {"secretRef": {"name": "hedonic-secrets"}} in found[name]["envFrom"], name
        assert "HEDONIC_PREDICTION_LOG_URL" not in str(found[name].get("env")), name


def test_the_worker_watches_the_namespace_that_it_may_look_at():
    env = containers(everything())["worker"]["env"]
    assert {
        "name": "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    } in env


def texts(value: Any) -> Iterator[str]:
    """Yield all that is said in manifests."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def test_staging_is_opened_at_hosts_of_its_own():
    said = [text for text in texts(list(overlay("staging"))) if "example.com" in text]
    assert len(said) > 20
    hosts = {host for text in said for host in re.findall(r"[\w.{}-]*hedonic\.example\.com", text)}
    assert all(host.endswith("staging.hedonic.example.com") for host in hosts), hosts
    production = [text for text in texts(list(overlay("production"))) if "example.com" in text]
    assert not any("staging" in text for text in production)


def test_every_secret_that_is_named_is_made_in_the_docs_with_its_keys():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    content = str(everything())
    names = set(re.findall(r"'secretRef': \{'name': '([\w-]+)'", content))
    names |= set(re.findall(r"'(?:secretName|nginx.ingress.kubernetes.io/auth-secret)': '([\w-]+)'", content))
    keys = re.findall(r"'secretKeyRef': \{'name': '([\w-]+)', 'key': '([\w-]+)'\}", content)
    assert {"hedonic-secrets", "hedonic-prefect", "hedonic-people", "hedonic-tls"} <= names
    made = dict(re.findall(r"create secret (?:generic|tls) ([\w-]+)((?:[^\n]*\\\n)*[^\n]*)", page))
    assert names | {name for name, _ in keys} <= made.keys()
    for name, key in keys:
        assert f"--from-literal={key}=" in made[name], (name, key)
    for key in ("HEDONIC_API_TOKEN", "HEDONIC_HISTORY_URL", "HEDONIC_PREDICTION_LOG_URL"):
        assert f"--from-literal={key}=" in made["hedonic-secrets"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_nobody_outside_sees_the_metrics_of_an_endpoint(name):
    rules = [
        (rule["host"], path, one["metadata"].get("annotations", {}))
        for one in overlay(name)
        if one["kind"] == "Ingress"
        for rule in one["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    open_hosts = {
        host
        for host, path, _ in rules
        if path["path"] == "/" and path["backend"]["service"]["name"].startswith("endpoint-")
    }
    denied = {
        host
        for host, path, told in rules
        if (path["path"], path["pathType"]) == ("/metrics", "Prefix")
        and told.get("nginx.ingress.kubernetes.io/whitelist-source-range") == "127.0.0.1/32"
    }
    assert len(open_hosts) == 2
    assert open_hosts == denied


@pytest.mark.parametrize("name", OVERLAYS)
def test_how_many_there_are_is_said_by_an_autoscaler_or_by_the_deployment_and_never_by_both(name):
    content = named(overlay(name))
    scaled = {m["spec"]["scaleTargetRef"]["name"] for (kind, _), m in content.items() if "Autoscaler" in kind}
    assert len(scaled) == (3 if name == "blue-green" else 2)
    for (kind, one), manifest in content.items():
        if kind == "Deployment":
            assert (one in scaled) is ("replicas" not in manifest["spec"]), one
    assert all(("Deployment", one) in content for one in scaled)


def test_blue_and_green_are_deployments_of_their_own_and_the_switch_is_not_applied_again(tmp_path):
    content = named(overlay("blue-green"))
    (service,) = manifests((KUBERNETES / "overlays" / "blue-green" / "service.yaml").read_text())
    assert ("Service", "endpoint-king-county") not in content
    assert ("Deployment", "endpoint-king-county") not in content
    assert ("Deployment", "endpoint-california") in content
    assert service["metadata"]["name"] == "endpoint-king-county"
    who = {}
    for colour in ("blue", "green"):
        name = f"endpoint-king-county-{colour}"
        deployment = content["Deployment", name]["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        assert deployment["selector"]["matchLabels"].items() <= labels.items()
        assert deployment["selector"]["matchLabels"]["hedonic.colour"] == colour
        assert content["Service", name]["spec"]["selector"]["hedonic.colour"] == colour
        budget = content["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"]
        assert budget["hedonic.colour"] == colour
        scaler = content["HorizontalPodAutoscaler", name]["spec"]
        assert scaler["scaleTargetRef"]["name"] == name
        who[colour] = chosen({"matchLabels": service["spec"]["selector"]}, labels)
    assert who == {"blue": True, "green": False}
    moved = containers(
        with_images(tmp_path, "blue-green", **{"hedonic-king_county-green": "ghcr.io/us/the-next"})
    )
    assert moved["endpoint-king-county-green"]["image"] == "ghcr.io/us/the-next"
    assert "the-next" not in moved["endpoint-king-county-blue"]["image"]


def test_both_deployments_of_a_postgres_make_the_same_databases():
    ours = (ROOT / "deployments" / "postgres" / "databases.sql").read_bytes()
    assert (KUBERNETES / "components" / "postgres" / "databases.sql").read_bytes() == ours
