"""The files for hosts: they can be read, they open the one port, and none leaves the door open by chance."""

import json
import re

import pytest
import yaml

from tests.project import ROOT

HOSTS = ROOT / "deployments" / "hosts"
IMAGE = "hedonic-king_county:TAG"


def test_every_file_is_explained_and_names_the_image():
    told = (ROOT / "docs" / "images.md").read_text()
    files = sorted(path.name for path in HOSTS.iterdir())
    assert files == [
        "cloud-run.yaml", "ecs-task.json", "huggingface.Dockerfile", "render.yaml", "sagemaker-model.json",
    ]  # fmt: skip
    for name in files:
        assert f"deployments/hosts/{name}" in told
        assert IMAGE in (HOSTS / name).read_text()


@pytest.mark.parametrize("name", ["cloud-run.yaml", "ecs-task.json", "render.yaml"])
def test_where_nobody_else_asks_who_calls_a_token_comes_from_the_hosts_secrets(name):
    text = (HOSTS / name).read_text()
    assert "HEDONIC_API_TOKEN" in text
    assert "ALLOW_ANONYMOUS" not in text


def test_cloud_run_gives_what_the_image_needs():
    (container,) = yaml.safe_load((HOSTS / "cloud-run.yaml").read_text())["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["ports"] == [{"containerPort": 8080}]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_ecs_asks_the_images_own_health_check():
    (container,) = json.loads((HOSTS / "ecs-task.json").read_text())["containerDefinitions"]
    assert container["portMappings"] == [{"containerPort": 8080, "protocol": "tcp"}]
    recipe = (ROOT / "deployments" / "images" / "valuation.Dockerfile").read_text()
    own = re.search(r"HEALTHCHECK .*\n\s+CMD (\[.*\])", recipe)
    assert container["healthCheck"]["command"] == ["CMD", *json.loads(own[1])]


def test_render_waits_until_it_is_ready():
    (service,) = yaml.safe_load((HOSTS / "render.yaml").read_text())["services"]
    assert (service["runtime"], service["healthCheckPath"]) == ("image", "/readyz")


def test_sagemaker_whose_callers_iam_knows_has_the_explicit_leave_and_no_network():
    model = json.loads((HOSTS / "sagemaker-model.json").read_text())
    assert model["PrimaryContainer"]["Environment"] == {"HEDONIC_GUARD__ALLOW_ANONYMOUS": "true"}
    assert model["EnableNetworkIsolation"] is True


def test_a_space_runs_as_its_own_user():
    assert (HOSTS / "huggingface.Dockerfile").read_text().endswith("FROM ${IMAGE}\nUSER 1000:1000\n")
