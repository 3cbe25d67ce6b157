"""The committed code: what the features and models of a commit mean, whatever lies in the working tree."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hedonic.errors import HedonicError
from hedonic.lineage import code_digest, step_sources

STEPS = ("tasks/tune.py", "tasks/train.py")
ROOMS = ("src/hedonic/data/", "src/hedonic/model/")
_GIT_LIMIT_S = 60.0


def committed_digest(root: Path, commit: str) -> str:
    """Return the digest of the feature and model code that tuning and training run, as committed.

    That is what they import from the rooms data and model; comments and layout do not count. The
    working tree is not read: a commit to docs beside unfinished work on features changes nothing.

    Raises:
        UserError: a file of the commit is not Python.
        HedonicError: git does not give the commit.
    """
    with committed_tree(root, commit) as tree:
        steps = [step for step in STEPS if (tree / step).is_file()]
        sources = {source for step in steps for source in step_sources(tree, step)}
        return code_digest(tree, (source for source in sources if source.startswith(ROOMS)))


@contextmanager
def committed_tree(root: Path, commit: str) -> Iterator[Path]:
    """Give a folder with the Python sources of a commit, for as long as they are needed.

    Raises:
        HedonicError: git does not give the commit.
    """
    with tempfile.TemporaryDirectory(prefix="hedonic-commit-") as scratch:
        tree = Path(scratch)
        with tarfile.open(fileobj=io.BytesIO(_archive(root, commit))) as archive:
            archive.extractall(tree, filter="data")
        yield tree


def head(root: Path) -> str | None:
    """Return the id of the commit that is checked out around ``root``, None where there is none."""
    return _text(root, "rev-parse", "--verify", "--quiet", "HEAD")


def head_folders(root: Path) -> Iterator[Path]:
    """Yield the folders in which git writes when another commit is checked out; a worktree has its own."""
    own, shared = (_text(root, "rev-parse", "--path-format=absolute", kind) for kind in _GIT_FOLDERS)
    if own is None or shared is None:
        return
    yield Path(own)
    yield Path(own) / "logs"
    yield Path(shared)
    branch = _text(root, "symbolic-ref", "--quiet", "HEAD")
    if branch is not None:
        yield (Path(shared) / branch).parent


_GIT_FOLDERS = ("--git-dir", "--git-common-dir")


def _archive(root: Path, commit: str) -> bytes:
    done = _git(root, "archive", "--format=tar", commit, "--", ":(glob)**/*.py")
    if done is None or done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip() if done else "git cannot be run"
        raise HedonicError(f"{root}: commit {commit[:12]} cannot be read: {told}.")
    return done.stdout


def _text(root: Path, *arguments: str) -> str | None:
    done = _git(root, *arguments)
    return done.stdout.decode().strip() if done and done.returncode == 0 else None


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, timeout=_GIT_LIMIT_S, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
