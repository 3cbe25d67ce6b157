"""Lint, types, imports, tests and coverage: green on a small sound tree, red on the same tree broken."""

from __future__ import annotations

import pytest

from tests.pipeline.trees import make, make_tree, write
from tests.project import ROOT, copy_ours

pytestmark = pytest.mark.slow

PRICE = '''"""A price."""


def double(usd: float) -> float:
    """Return twice the price."""
    return 2 * usd
'''
TEST = """from hedonic.price import double


def test_twice():
    assert double(2) == 4
"""
SOUND = {
    "src/hedonic/__init__.py": '"""A library."""\n',
    "src/hedonic/price.py": PRICE,
    "tests/test_price.py": TEST,
    ".importlinter": "",
}


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree", SOUND)


def test_a_lint_error_turns_style_red(tree):
    green = make(tree, "style")
    assert green.returncode == 0, green.stdout + green.stderr
    write(tree, {"src/hedonic/price.py": PRICE + "\nimport os\n"})
    red = make(tree, "style")
    assert red.returncode != 0
    assert "F401" in red.stdout


def test_a_type_error_and_an_import_of_what_is_gone_turn_types_red_and_nothing_else_does(tmp_path):
    tree = make_tree(tmp_path / "tree", {})
    copy_ours(tree, "src", "flows", "tasks", "bentos", "delivery", "benchmarks")
    if (ROOT / ".mypy_cache").is_dir():  # what `make types` found of the same files, if it ran here: minutes
        copy_ours(tree, ".mypy_cache")
    write(
        tree,
        {
            "src/hedonic/price.py": PRICE.replace("2 * usd", "str(usd)"),
            "delivery/late.py": "from hedonic.cli.status import gone\n",
        },
    )
    red = make(tree, "types")
    assert red.returncode != 0
    assert 'expected "float"' in red.stdout
    assert 'has no attribute "gone"' in red.stdout
    assert "Found 2 errors in 2 files" in red.stdout


def test_an_arrow_that_runs_up_turns_imports_red(tmp_path):
    tree = make_tree(tmp_path / "tree", {})
    copy_ours(tree, "src", "flows", "tasks", "bentos", ".importlinter")
    write(tree, {"src/hedonic/data/upward.py": "from hedonic.cli import app\n"})
    red = make(tree, "imports", PYTHONPATH="src:.")
    assert red.returncode != 0
    assert "hedonic.data.upward -> hedonic.cli" in red.stdout


def coverage(tree):
    return make(tree, "coverage", PYTHONPATH="src")


def test_a_failing_test_and_too_little_coverage_turn_coverage_red(tree):
    green = coverage(tree)
    assert green.returncode == 0, green.stdout + green.stderr
    assert "1 passed" in green.stdout
    write(tree, {"src/hedonic/untested.py": "\n".join(f"a{n} = {n}" for n in range(20))})
    thin = coverage(tree)
    assert thin.returncode != 0
    assert "1 passed" in thin.stdout
    assert "Required test coverage of 90.0% not reached" in thin.stdout
    (tree / "src/hedonic/untested.py").unlink()
    write(tree, {"tests/test_price.py": TEST.replace("== 4", "== 5")})
    failing = coverage(tree)
    assert failing.returncode != 0
    assert "1 failed" in failing.stdout
