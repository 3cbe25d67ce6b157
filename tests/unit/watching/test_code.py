"""A look at the code: a commit that changes features or models is told once, another one not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hedonic.settings import Settings
from hedonic.watching.code import look_at_code
from hedonic.watching.committed import head_folders
from hedonic.watching.event import Event, NotDelivered
from tests.project import copy_ours

FEATURES, RIDGE = "src/hedonic/model/features.py", "src/hedonic/model/scorers.py"


def git(root: Path, *arguments: str) -> str:
    identity = (
        "-c",
        "user.name=A Test",
        "-c",
        "user.email=test@example.invalid",
        "-c",
        "commit.gpgsign=false",
    )
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Repository:
    """Our own code in a repository of its own, and what was told about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings(root=root, home=root / ".hedonic")
        self.told: list[Event] = []

    def commit(self, file: str, text: str) -> str:
        """Append to a file and commit that file alone; return the commit."""
        self.append(file, text)
        git(self.root, "add", file)
        git(self.root, "commit", "--quiet", "-m", f"change {file}", "--", file)
        return git(self.root, "rev-parse", "HEAD")

    def append(self, file: str, text: str) -> None:
        path = self.root / file
        path.write_text((path.read_text() if path.exists() else "") + text)

    def look(self) -> Event | None:
        return look_at_code(self.settings, self.told.append)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository") / "project"
    copy_ours(root, "src", "tasks")
    (root / ".gitignore").write_text(".hedonic\n")
    git(root.parent, "init", "--quiet", "--initial-branch=main", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "begin")
    assert Repository(root).look() is None
    return root


@pytest.fixture
def repository(pristine: Path, tmp_path: Path) -> Repository:
    """A repository whose first commit was seen."""
    return Repository(Path(shutil.copytree(pristine, tmp_path / "project")))


def test_a_commit_to_features_is_told_once_with_that_commit(repository: Repository) -> None:
    commit = repository.commit(FEATURES, "\nEXTRA = 1\n")
    for _ in range(3):
        repository.look()
    (event,) = repository.told
    assert (event.name, event.resource) == ("code.changed", "hedonic.code")
    assert event.payload["commit"] == commit
    assert event.payload["reason"] == f"code changed: {commit[:12]}"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", "more\n"),
        (FEATURES, "\n# a comment\n\n\n"),
        ("src/hedonic/settings.py", "\nEXTRA = 1\n"),
        ("src/hedonic/serving/guard.py", "\nEXTRA = 1\n"),
        ("tests/unit/test_nothing.py", "EXTRA = 1\n"),
    ],
    ids=["docs", "comment", "settings", "serving", "tests"],
)
def test_a_commit_to_anything_else_is_not(repository: Repository, file: str, text: str) -> None:
    (repository.root / file).parent.mkdir(parents=True, exist_ok=True)
    repository.commit(file, text)
    assert repository.look() is None
    assert repository.told == []


def test_a_commit_to_docs_beside_unfinished_work_on_features_is_not(repository: Repository) -> None:
    repository.append(FEATURES, "\nEXTRA = 1\n")
    repository.commit("README.md", "more\n")
    assert repository.look() is None
    commit = repository.commit(FEATURES, "\nMORE = 1\n")
    event = repository.look()
    assert event is not None
    assert event.payload["commit"] == commit


def test_commits_made_while_nobody_looked_are_told_as_the_last(repository: Repository) -> None:
    repository.commit(FEATURES, "\nEXTRA = 1\n")
    commit = repository.commit("README.md", "more\n")
    repository.look()
    assert [event.payload["commit"] for event in repository.told] == [commit]


def test_a_commit_that_takes_a_change_back_is_told_too(repository: Repository) -> None:
    repository.commit(FEATURES, "\nEXTRA = 1\n")
    repository.look()
    git(repository.root, "revert", "--no-edit", "HEAD")
    repository.look()
    assert len({event.id for event in repository.told}) == 2


def test_a_commit_that_is_not_python_is_passed_over_until_it_is_mended(repository: Repository) -> None:
    repository.commit(RIDGE, "\ndef (\n")
    assert repository.look() is None
    (repository.root / RIDGE).write_text(
        (repository.root / RIDGE).read_text().replace("\ndef (\n", "\nX = 1\n")
    )
    commit = repository.commit(RIDGE, "")
    event = repository.look()
    assert event is not None
    assert event.payload["commit"] == commit


def test_an_event_that_did_not_arrive_is_told_again_under_its_id(repository: Repository) -> None:
    def fail(event: Event) -> None:
        repository.told.append(event)
        raise NotDelivered("no server")

    repository.commit(FEATURES, "\nEXTRA = 1\n")
    with pytest.raises(NotDelivered, match="no server"):
        look_at_code(repository.settings, fail)
    repository.look()
    repository.look()
    assert len(repository.told) == 2
    assert len({event.id for event in repository.told}) == 1


def test_a_folder_without_a_repository_has_no_code_to_watch(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, home=tmp_path / ".hedonic")
    assert look_at_code(settings, lambda event: None) is None
    assert list(head_folders(tmp_path)) == []


def test_a_worktree_is_looked_at_by_its_own_head(repository: Repository, tmp_path: Path) -> None:
    worktree = tmp_path / "worktree"
    git(repository.root, "worktree", "add", "--quiet", "-b", "features/area", str(worktree))
    other = Repository(worktree)
    other.look()
    commit = other.commit(FEATURES, "\nEXTRA = 1\n")
    repository.look()
    other.look()
    assert repository.told == []
    assert [event.payload["commit"] for event in other.told] == [commit]
    own = repository.root / ".git" / "worktrees" / "worktree"
    assert {own, repository.root / ".git" / "refs" / "heads" / "features"} <= set(head_folders(worktree))
