"""Small trees on which the project's own make targets run, sound or broken on purpose."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.project import ROOT

# What a target needs beside the tree that it looks at.
TOOLS = (
    "Makefile", "delivery", "pyproject.toml", "ruff.toml", "mypy.ini", "pytest.ini", "zizmor.yml",
    "requirements.txt", "requirements-serve.txt", "requirements-checks.txt",
)  # fmt: skip


def make_tree(folder: Path, files: dict[str, str]) -> Path:
    """Return ``folder`` as a tree with the project's targets and these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        (folder / name).symlink_to(ROOT / name)
    for environment in (".venv", ".checks"):
        lend(folder, environment)
    write(folder, files)
    return folder


def lend(folder: Path, environment: str) -> None:
    """Give a tree one of our environments, ready in its own eyes: nothing is ever installed from there."""
    assert (ROOT / environment).is_dir(), f"{environment}: not made yet. make {environment}/.ready"
    (folder / environment).mkdir()
    for path in (ROOT / environment).iterdir():
        if path.name != ".ready":
            (folder / environment / path.name).symlink_to(path)


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files by their relative paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what came of a make target in a tree; what CI itself set does not reach it."""
    for lent in (".venv", ".checks"):
        if folder != ROOT:
            (folder / lent / ".ready").touch()
    inherited = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HEDONIC_", "COV_", "COVERAGE_", "PYTEST_", "MAKE"))
    }
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, env=inherited | environment, check=False,
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip


def git(folder: Path, *arguments: str) -> None:
    """Run git in a repository of the test's own."""
    identity = [
        "-c",
        "user.name=someone",
        "-c",
        "user.email=someone@example.com",
        "-c",
        "commit.gpgsign=false",
    ]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)
