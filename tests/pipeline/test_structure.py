"""Order, asked first: with python3 and git alone."""

from __future__ import annotations

import subprocess

import pytest

from delivery.changes import changed_files, touched_areas
from delivery.structure import ACTIONS, PLACES, find_problems
from tests.pipeline.trees import git, write
from tests.project import ROOT

SHA = "a" * 40
CHECKOUT = f"actions/checkout@{SHA}"
WORKFLOW = ".github/workflows/ci.yml"


@pytest.fixture
def tree(tmp_path):
    """Return a repository in which everything is in its place."""
    git(tmp_path, "init", "--quiet")
    write(
        tmp_path,
        {place if "." in place or place in ("Makefile", "LICENSE") else f"{place}/x": "" for place in PLACES},
    )
    write(
        tmp_path,
        {ACTIONS: CHECKOUT, WORKFLOW: f"    steps:\n      - uses: {CHECKOUT}\n      - uses: ./.github/x\n"},
    )
    return tmp_path


def test_a_tree_in_order_has_no_problem(tree):
    assert list(find_problems(tree)) == []


def test_ours_is_in_order_by_python3_alone():
    done = subprocess.run(
        ["make", "--no-print-directory", "structure"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "structure: no problems\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (".env", "TOKEN=1", r"\.env: is tracked"),
        ("deployments/.env.production", "TOKEN=1", "is tracked"),
        ("src/hedonic/model.pkl", "", "is tracked"),
        ("notes.md", f"{'<' * 7} HEAD\n", "a merge that was not finished"),
        (WORKFLOW, "    - uses: actions/checkout@v7\n", "can become another action"),
        (WORKFLOW, f"    - uses: someone/else@{SHA}\n", r"not listed\. Add it to docs/actions\.md"),
        (WORKFLOW, "    - run: make lint || true\n", "hides a failure"),
        (WORKFLOW, "      continue-on-error: true\n", "hides a failure"),
    ],
)
def test_what_is_out_of_order_is_named(tree, name, content, told):
    write(tree, {name: content})
    with pytest.raises(AssertionError, match=told):
        assert list(find_problems(tree)) == []


def test_a_place_that_is_empty_is_named(tree):
    (tree / "flows/train.py").unlink()
    assert list(find_problems(tree)) == [
        "flows/train.py: missing. It has a place in docs/design.md; restore it."
    ]


def test_an_env_file_that_git_ignores_is_nobodys_business(tree):
    write(tree, {".gitignore": ".env\n", ".env": "TOKEN=1"})
    assert list(find_problems(tree)) == []
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


@pytest.mark.parametrize(
    ("files", "areas"),
    [
        (["docs/delivery.md", "README.md"], set()),
        (["tests/unit/test_turn.py"], {"code"}),
        (["src/hedonic/errors.py"], {"code", "image"}),
        (["deployments/images/valuation.Dockerfile"], {"code", "image"}),
        (["deployments/compose.yaml"], {"code"}),
        (["deployments/prometheus/rules.yaml", "deployments/grafana/dashboard.json"], {"code"}),
        (["deployments/proxy/Caddyfile", "deployments/hosts/fly.toml"], {"code"}),
        (["requirements-serve.txt"], {"code", "image", "locks"}),
        ([".github/workflows/ci.yml"], {"code", "image", "locks"}),
        (["a_new_place/file"], {"code", "image", "locks"}),
        (None, {"code", "image", "locks"}),
    ],
)
def test_a_change_touches_what_it_could_break_and_a_strange_one_everything(files, areas):
    assert {area for area, is_touched in touched_areas(files).items() if is_touched} == areas


def test_the_change_is_what_the_branch_did_since_it_left(tmp_path):
    git(tmp_path, "init", "--quiet")
    for name in ("old.md", "new.md"):
        write(tmp_path, {name: name})
        git(tmp_path, "add", name)
        git(tmp_path, "commit", "--quiet", "-m", name)
    assert changed_files(tmp_path, "HEAD~1") == ["new.md"]
    assert changed_files(tmp_path, SHA) is None
    assert changed_files(tmp_path, "0" * 40) is None
    assert changed_files(tmp_path, "") is None
