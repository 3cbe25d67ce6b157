"""Lineage: the digests and versions that say from which code, lock and commit a result came."""

from __future__ import annotations

import ast
import getpass
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hedonic.errors import UserError

LOCK = "requirements.txt"
_GIT_TIMEOUT_S = 20.0


class Commit(BaseModel):
    """The commit that is checked out, and whether files differ from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha: str
    dirty: bool


def code_digest(root: Path, sources: Iterable[str]) -> str:
    """Return the sha256 of what the Python sources mean: comments, blank lines and layout do not count.

    Args:
        root: the project root.
        sources: files or folders relative to ``root`` (a folder stands for every ``.py`` file in
            it), such as ``("tasks/tune.py", "src/hedonic/model")``; order and repetition do not count.

    Raises:
        UserError: a source does not exist, or is not Python.
    """
    return digest_of(code_digests(root, sources))


def code_digests(root: Path, sources: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of what each Python source means, by its path below ``root``.

    Raises:
        UserError: a source does not exist, or is not Python.
    """
    paths = sorted(set(_files(root, sources)))
    return {path.relative_to(root).as_posix(): _source(path).digest for path in paths}


def digest_of(digests: Mapping[str, str]) -> str:
    """Return the one sha256 of the digests of many files."""
    told = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(told.encode()).hexdigest()


def step_sources(root: Path, entry: str, leave_out: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the project's files that a step may run: its own and all that they import, transitively.

    Imports are read from the source, those inside functions too, so the answer needs no upkeep.
    ``root / "src"`` and ``root`` are searched, as they are on the path of a run.

    Args:
        root: the project root.
        entry: the step's module, below ``root``.
        leave_out: files that do not shape what the step returns, and what they alone import.
    """
    found: set[Path] = set()
    named: set[str] = set()
    passed_over = {root / name for name in leave_out}
    waiting = [root / entry]
    while waiting:
        path = waiting.pop()
        if path not in found and path not in passed_over:
            found.add(path)
            new = set(_imports(root, path)) - named
            named |= new
            waiting += [file for name in new for file in _module_files(root, name)]
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def lock_digest(root: Path, lock: str = LOCK) -> str:
    """Return the sha256 of the lock's requirements; its comments do not count.

    Raises:
        UserError: there is no such file.
    """
    return hashlib.sha256("\n".join(_requirements(root / lock)).encode()).hexdigest()


def locked_versions(root: Path, lock: str = LOCK) -> dict[str, str]:
    """Return the version that the lock pins of each distribution.

    Raises:
        UserError: there is no such file.
    """
    pinned = (line.split("==", 1) for line in _requirements(root / lock) if not line[0].isspace())
    return {part[0].strip(): part[1].split()[0] for part in pinned if len(part) == 2}


def commit(root: Path) -> Commit | None:
    """Return the commit of the repository around ``root``; None without git, repository or commit."""
    sha = _git(root, "rev-parse", "--verify", "HEAD")
    if sha is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=normal")
    return Commit(sha=sha, dirty=changes is None or bool(changes))


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each distribution; one that is not installed is left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _requirements(path: Path) -> list[str]:
    """Return the lines of a lock without its comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as err:
        raise UserError(f"{path}: no such lock. Run `make lock` to write it.") from err
    return [line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _files(root: Path, sources: Iterable[str]) -> Iterator[Path]:
    for source in sources:
        path = root / source
        if path.is_dir():
            yield from path.rglob("*.py")
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such source. Give files or folders relative to {root}.")


@dataclass(frozen=True, slots=True)
class _Source:
    """What a Python file means, and the imports in it.

    Attributes:
        digest: sha256 of its meaning.
        imports: the module that each names, with the number of its leading dots.
    """

    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


def _source(path: Path) -> _Source:
    """Return what the file means now; a file that was not written since is not read again."""
    status = path.stat()
    return _read_source(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=4096)
def _read_source(path: Path, _written: tuple[int, int, int]) -> _Source:
    tree = _parse(path)
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return _Source(hashlib.sha256(_dump(tree).encode()).hexdigest(), tuple(imports))


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as err:
        raise UserError(f"{path}: not Python: {err}") from err


def _dump(node: object) -> str:
    """Return the tree as text; unlike ``ast.dump`` the same in Python 3.11, 3.12 and 3.13."""
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        told = (f"{name}={_dump(value)}" for name, value in fields if value is not None and value != [])
        # A constant None is told by its field's absence, which no other constant has.
        return f"{type(node).__name__}({','.join(told)})"
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node)}]"
    return repr(node)


def _imports(root: Path, path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports; ``from a import b`` may mean the module a.b."""
    package = path.relative_to(root / "src" if (root / "src") in path.parents else root).parent.parts
    for level, named, members in _source(path).imports:
        base = package[: len(package) - level + 1] if level else ()
        module = ".".join((*base, *([named] if named else [])))
        yield module
        yield from (f"{module}.{member}" for member in members)


def _module_files(root: Path, name: str) -> Iterator[Path]:
    """Yield the project's files that importing ``name`` runs: the packages above it and itself."""
    parts = name.split(".")
    for base in (root / "src", root):
        for depth in range(1, len(parts) + 1):
            module = base.joinpath(*parts[:depth])
            files = [path for path in (module / "__init__.py", module.with_suffix(".py")) if path.is_file()]
            yield from files
            if not files and not module.is_dir():  # another's
                break


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git answers, None when it cannot; no lock is taken beside a user's own command."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def actor() -> str:
    """Return who runs this process, as the history names them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
