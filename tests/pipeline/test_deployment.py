"""The plan of a deployment: one way, one image by its digest, one endpoint; or plainly nothing."""

from __future__ import annotations

import sys

import pytest
import yaml

from delivery import deployment
from delivery.deployment import NotDeployable, Plan, make_plan
from tests.project import ROOT

DIGEST = f"sha256:{'d' * 64}"
GHCR = f"ghcr.io/someone/hedonic-king_county@{DIGEST}"
ECR = f"1.dkr.ecr.eu-west-1.amazonaws.com/hedonic-king_county@{DIGEST}"


@pytest.mark.parametrize("way", ["webhook", "kubectl"])
def test_the_image_that_was_shipped_is_deployed_by_its_digest_to_the_data_sets_endpoint(way):
    plan = make_plan("king_county", way, "ghcr.io/Someone", ["", GHCR, ECR])
    assert plan == Plan(way, GHCR, "endpoint-king-county")


@pytest.mark.parametrize("dataset", sorted(path.stem for path in (ROOT / "expectations").glob("*.yaml")))
def test_every_data_set_has_the_endpoint_that_is_named(dataset):
    named = make_plan(dataset, "kubectl", "ghcr.io/someone", [GHCR]).endpoint
    files = (ROOT / "deployments" / "kubernetes").glob("**/endpoint*.yaml")
    declared = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    (found,) = (
        one for one in declared if (one["kind"], one["metadata"].get("name")) == ("Deployment", named)
    )
    assert [one["name"] for one in found["spec"]["template"]["spec"]["containers"]] == [named]


def test_without_a_way_nothing_is_deployed():
    assert make_plan("california", "", "", []) is None


@pytest.mark.parametrize("way", ["kubectl ", "Webhook", "helm"])
def test_a_misspelt_way_is_refused(way):
    with pytest.raises(NotDeployable, match="neither webhook nor kubectl"):
        make_plan("california", way, "ghcr.io/someone", [GHCR])


@pytest.mark.parametrize(
    ("repository", "shipped"),
    [
        ("", [GHCR]),
        ("ghcr.io/other", [GHCR]),
        ("ghcr.io/some", [GHCR]),
        ("ghcr.io/someone", ["ghcr.io/someone/hedonic-king_county:v7"]),
        ("ghcr.io/someone", ["", ""]),
    ],
)
def test_an_image_that_the_hosts_registry_has_not_by_digest_is_refused(repository, shipped):
    with pytest.raises(NotDeployable, match="Set it to the part before the name"):
        make_plan("king_county", "kubectl", repository, shipped)


@pytest.mark.parametrize(
    ("way", "code", "told", "summed"),
    [
        ("kubectl", 0, f"way=kubectl\nimage={GHCR}\nendpoint=endpoint-king-county\n", GHCR),
        ("", 0, "undone=DEPLOY_BY is not set\n", "**Nothing is deployed**: DEPLOY_BY is not set"),
        ("kubctl", 1, "", ""),
    ],
)
def test_outputs_and_summary_say_what_is_deployed(monkeypatch, tmp_path, capsys, way, code, told, summed):
    page = tmp_path / "summary.md"
    page.touch()
    given = ["--repository", "ghcr.io/someone", "--shipped", GHCR, "--shipped", "", "--summary", str(page)]
    monkeypatch.setattr(sys, "argv", ["deployment", "king_county", "--by", way, *given])
    assert deployment.main() == code
    assert capsys.readouterr().out == told
    assert summed in page.read_text()
    assert bool(page.read_text()) == (code == 0)
