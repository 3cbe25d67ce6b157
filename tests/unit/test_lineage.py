"""Digests change with what the code does and with nothing else."""

from __future__ import annotations

import subprocess

import pytest

from hedonic.errors import UserError
from hedonic.lineage import Commit, code_digest, commit, lock_digest, package_versions, step_sources

SOURCE = """def price(area):
    return area * 2
"""


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "src/hedonic/__init__.py": "",
        "src/hedonic/model/__init__.py": "",
        "src/hedonic/model/price.py": SOURCE,
        "src/hedonic/model/other.py": "from . import price\n",
        "src/hedonic/data.py": "from hedonic.model import price\n",
        "tasks/__init__.py": "",
        "tasks/tune.py": "import json\n\ndef run():\n    from hedonic.data import price\n",
        "tasks/train.py": "import hedonic.model.other as o\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def rewrite(root, text, name="src/hedonic/model/price.py"):
    (root / name).write_text(text)


@pytest.mark.parametrize(
    "same",
    [
        "# why\ndef price(area):\n\n\n    # twice\n    return area * 2  # two\n",
        "def price( area ) :\n        return (area\n            * 2)\n",
    ],
)
def test_comments_blank_lines_and_layout_change_nothing(root, same):
    before = code_digest(root, ["src"])
    rewrite(root, same)
    assert code_digest(root, ["src"]) == before


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace("2", "3"),
        SOURCE.replace("2", "2.0"),
        SOURCE.replace("2", "'2'"),
        SOURCE.replace("2", "None"),
        SOURCE.replace("*", "+"),
        SOURCE.replace("area", "size"),
        SOURCE.replace("(area)", "(area=None)"),
        SOURCE.replace("(area)", "(*area)"),
        SOURCE + "\nprice(1)\n",
    ],
)
def test_every_change_of_meaning_changes_the_digest(root, other):
    before = code_digest(root, ["src"])
    rewrite(root, other)
    assert code_digest(root, ["src"]) != before


def test_the_order_of_sources_does_not_count_and_their_names_do(root):
    files = ["src/hedonic/model/price.py", "src/hedonic/data.py"]
    before = code_digest(root, files)
    assert code_digest(root, [*reversed(files), files[0]]) == before
    (root / files[0]).rename(root / "src/hedonic/model/cost.py")
    assert code_digest(root, ["src/hedonic/model/cost.py", files[1]]) != before


def test_the_digest_is_the_same_in_another_folder(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    (other / "src").symlink_to(root / "src")
    assert code_digest(other, ["src"]) == code_digest(root, ["src"])


def test_the_digest_does_not_depend_on_the_python_version(root):
    """The value is pinned: the same is computed by 3.11, 3.12 and 3.13."""
    rewrite(root, 'x = [f"{a!r:>{w}} b", None, (), {}]\n\n\ndef f(a, /, *, b=1, **c) -> None:\n    return\n')
    pinned = "df3a590251404a93a26d6bde5ec3c4aa22a0585297143371083c609d53bbd29b"
    assert code_digest(root, ["src/hedonic/model/price.py"]) == pinned


def test_a_source_that_is_not_there_or_not_python_is_named(root):
    with pytest.raises(UserError, match=r"src/nothing\.py: no such source"):
        code_digest(root, ["src/nothing.py"])
    rewrite(root, "def (:\n")
    with pytest.raises(UserError, match=r"price\.py: not Python"):
        code_digest(root, ["src"])


def test_a_step_runs_its_own_file_and_all_that_it_imports(root):
    assert step_sources(root, "tasks/tune.py") == (
        "src/hedonic/__init__.py",
        "src/hedonic/data.py",
        "src/hedonic/model/__init__.py",
        "src/hedonic/model/price.py",
        "tasks/tune.py",
    )
    assert step_sources(root, "tasks/train.py") == (
        "src/hedonic/__init__.py",
        "src/hedonic/model/__init__.py",
        "src/hedonic/model/other.py",
        "src/hedonic/model/price.py",
        "tasks/train.py",
    )


def test_relative_imports_are_followed_up_the_packages(root):
    rewrite(root, "from ..data import price\nfrom .price import price as p\n", "src/hedonic/model/other.py")
    assert "src/hedonic/data.py" in step_sources(root, "tasks/train.py")
    assert "src/hedonic/model/price.py" in step_sources(root, "tasks/train.py")


def test_a_lock_is_its_requirements_without_its_comments(root):
    (root / "requirements.txt").write_text("# by uv\na==1 \\\n    --hash=sha256:00\n    # via b\n")
    before = lock_digest(root)
    (root / "requirements.txt").write_text("a==1 \\\n    --hash=sha256:00\n\n")
    assert lock_digest(root) == before
    (root / "requirements.txt").write_text("a==1 \\\n    --hash=sha256:01\n")
    assert lock_digest(root) != before
    with pytest.raises(UserError, match=r"serve\.txt: no such lock\. Run `make lock`"):
        lock_digest(root, "serve.txt")


def git(root, *arguments):
    identity = ["-c", "user.name=ana", "-c", "user.email=ana@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_commit_is_clean_until_a_file_differs(root):
    git(root, "init", "--quiet")
    assert commit(root) is None
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    sha = git(root, "rev-parse", "HEAD")
    assert commit(root) == Commit(sha=sha, dirty=False)
    (root / "new.py").write_text("")
    assert commit(root) == Commit(sha=sha, dirty=True)
    (root / "new.py").unlink()
    rewrite(root, SOURCE + "# more\n")
    assert commit(root) == Commit(sha=sha, dirty=True)


def test_outside_a_repository_or_without_git_there_is_no_commit(root, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    assert commit(root) is None
    monkeypatch.setenv("PATH", str(root))
    assert commit(root) is None


def test_versions_are_of_what_is_installed():
    versions = package_versions(["pytest", "no-such-distribution"])
    assert versions == {"pytest": pytest.__version__}
