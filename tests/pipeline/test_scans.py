"""Workflows, Dockerfiles, manifests, sources, secrets and licences: each scan seen green and seen red."""

from __future__ import annotations

import pytest

from tests.pipeline.trees import git, make, make_tree, write
from tests.project import ROOT

pytestmark = pytest.mark.slow

WORKFLOW = """name: ci
on: push
permissions: {}
concurrency:
  group: ci
  cancel-in-progress: true
jobs:
  lint:
    name: lint
    runs-on: ubuntu-24.04
    steps:
      - name: lint
        run: make lint
"""
DOCKERFILE = "FROM python:3.11-slim\nWORKDIR /srv\nCOPY app.py ./\nUSER 10001\n"
MANIFEST = """apiVersion: v1
kind: Service
metadata:
  name: valuation
spec:
  ports:
    - port: 8080
"""
RULES = f"SCANNER_RULES={ROOT / '.checks/kingfisher'}"  # compiled once
# Put together here, so that no scan finds it in this file.
CANARY = "_".join(["ghp", "9fX2kLmQ7vRt3bNz8WcYh5JpD4sGaE1uKoTi"])


def test_our_own_workflows_are_sound():
    done = make(ROOT, "workflows")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("breakage", "told"),
    [
        (("ubuntu-24.04", "ubuntu-24.04\n    needs: nobody"), "nobody"),
        (("make lint", "echo ${{ github.event.issue.title }}"), "issue.title"),
        (("permissions: {}", "permissions: write-all"), "excessive-permissions"),
    ],
)  # fmt: skip
def test_a_broken_or_open_workflow_turns_workflows_red(tmp_path, breakage, told):
    tree = make_tree(tmp_path / "tree", {".github/workflows/ci.yml": WORKFLOW})
    git(tree, "init", "--quiet")
    green = make(tree, "workflows")
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {".github/workflows/ci.yml": WORKFLOW.replace(*breakage)})
    red = make(tree, "workflows")
    assert red.returncode != 0
    assert told in red.stdout + red.stderr


def test_a_dockerfile_that_takes_whatever_is_latest_turns_dockerfiles_red(tmp_path):
    tree = make_tree(tmp_path / "tree", {"deployments/images/valuation.Dockerfile": DOCKERFILE})
    green = make(tree, "dockerfiles")
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {"deployments/images/valuation.Dockerfile": DOCKERFILE.replace(":3.11-slim", "")})
    red = make(tree, "dockerfiles")
    assert red.returncode != 0
    assert "DL3006" in red.stdout


def test_a_misspelt_manifest_turns_manifests_red(tmp_path):
    tree = make_tree(tmp_path / "tree", {"deployments/kubernetes/base/service.yaml": MANIFEST})
    green = make(tree, "manifests")
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {"deployments/kubernetes/base/service.yaml": MANIFEST.replace("ports:", "portz:")})
    red = make(tree, "manifests")
    assert red.returncode != 0
    assert "portz" in red.stdout + red.stderr


@pytest.mark.parametrize(
    "file", ["src/hedonic/price.py", "bentos/price.py", "flows/price.py", "tasks/price.py"]
)
def test_code_that_runs_what_it_is_given_turns_bandit_red(tmp_path, file):
    tree = make_tree(tmp_path / "tree", {file: "def price(text):\n    return float(text)\n"})
    green = make(tree, "bandit")
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {file: "def price(text):\n    return eval(text)\n"})
    red = make(tree, "bandit")
    assert red.returncode != 0
    assert "B307" in red.stdout


def test_a_secret_turns_secrets_red_in_the_tree_and_when_only_history_has_it(tmp_path):
    tree = make_tree(tmp_path / "tree", {"notes.md": "nothing to see\n"})
    git(tree, "init", "--quiet")
    git(tree, "add", "notes.md")
    git(tree, "commit", "--quiet", "-m", "notes")
    green = make(tree, "secrets", RULES)
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {"deploy.sh": f"export GITHUB_TOKEN={CANARY}\n"})
    planted = make(tree, "secrets", RULES)
    assert planted.returncode != 0
    assert "deploy.sh" in planted.stdout
    assert CANARY not in planted.stdout + planted.stderr
    git(tree, "add", "deploy.sh")
    git(tree, "commit", "--quiet", "-m", "deploy")
    git(tree, "rm", "--quiet", "deploy.sh")
    git(tree, "commit", "--quiet", "-m", "never mind")
    remembered = make(tree, "secrets", RULES)
    assert remembered.returncode != 0
    assert "deploy.sh" in remembered.stdout
    assert not (tree / "deploy.sh").exists()
