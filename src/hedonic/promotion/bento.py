"""The bento of a release: what is served and nothing else, tagged by its content."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import RECORD, Manifest, verify_release
from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT

SERVICE = Path("bentos/valuation.py")
CONTAINER = (Path("bentos/container.py"), Path("bentos/health.py"))
RECIPE = Path("deployments/images/valuation.Dockerfile")
RECIPE_IN_BENTO = Path("env/docker/Dockerfile")
LOCK = "requirements-serve.txt"
LOCK_IN_BENTO = Path("env/python/requirements.txt")
BAKED = "baked_release"
LABEL, CODE_LABEL, BENTO_LABEL = "hedonic.release", "hedonic.code", "hedonic.bento"
FILES = "files.sha256"
"""In a bento: the sha256 of each of its files, as ``sha256sum --check`` reads them."""

_PACKAGES = {"hedonic": Path("src/hedonic"), "bentos": Path("bentos")}
_SAME_TIME = "creation_time: '2000-01-01T00:00:00+00:00'"
_BASE_IMAGE = re.compile(r"^ARG BASE_IMAGE=python:(\d+\.\d+)-slim$", flags=re.M)
_BUILD_LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Bento:
    """A built bento: its tag (``hedonic-<data set>:<16 hex digits>``), whole digest and folder."""

    tag: str
    digest: str
    folder: Path


def stored_bento(store: Path, tag: str) -> Path:
    """Return where BentoML's home holds the bento of a tag."""
    name, _, version = tag.partition(":")
    return store / "bentos" / name / version


def served_sources(root: Path) -> tuple[Path, ...]:
    """Return the project's files that the service imports, directly or not, relative to ``root``.

    Found by following imports from ``bentos/valuation.py`` and the container's command, also those inside
    functions, so that no list has to be kept; imports for type checking alone do not count.
    """
    found: set[Path] = set()
    waiting = [SERVICE, *CONTAINER]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += [
            parent / "__init__.py" for parent in path.parents if (root / parent / "__init__.py").is_file()
        ]
        for module in _imported(ast.parse((root / path).read_text(encoding="utf-8"))):
            waiting += _module_file(root, module)
    return tuple(sorted(found))


def bento_digest(root: Path, release: str) -> str:
    """Return the sha256 over release, served sources, lock, BentoML's version and the image's recipe."""
    return _digest({"release": release, **_served_code(root), "recipe": _sha256(_recipe(root))})


def held_digest(bento: Path) -> str:
    """Return the digest that a bento's tag must be the beginning of, computed from all that it holds.

    Raises:
        ReleaseRefused: it does not hold one whole release.
    """
    source = bento / "src"
    releases = [path for path in (source / BAKED).iterdir() if path.is_dir()]
    if len(releases) != 1:
        raise ReleaseRefused(f"{bento.name}: a bento holds one release, not {len(releases)}")
    held = {
        path.relative_to(bento if path.is_relative_to(source / "hedonic") else source).as_posix(): _sha256(
            path
        )
        for package in _PACKAGES
        for path in (source / package).rglob("*.py")
    }
    return _digest(
        {
            "release": verify_release(releases[0]).digest,
            "recipe": _sha256(bento / RECIPE_IN_BENTO),
            "sources": held,
            "lock": _sha256(bento / LOCK_IN_BENTO),
            "bentoml": str(_facts(bento)["bentoml_version"]),
        }
    )


def code_digest(root: Path) -> str:
    """Return the sha256 over the same without the release.

    A process that runs this code can take another release in place, whatever image it came in.
    """
    return _digest(_served_code(root))


def bento_code(bento: Path) -> str | None:
    """Return the code digest of a built bento; None for one that was built before it had any."""
    code = bento_labels(bento).get(CODE_LABEL)
    return None if code is None else str(code)


def bento_labels(bento: Path) -> dict[str, str]:
    """Return the labels of a built bento."""
    labels: dict[str, str] = _facts(bento)["labels"]
    return labels


def _facts(bento: Path) -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))
    return facts


def _served_code(root: Path) -> dict[str, Any]:
    return {
        "sources": {path.as_posix(): _sha256(root / path) for path in served_sources(root)},
        "lock": _sha256(_lock(root)),
        "bentoml": importlib.metadata.version("bentoml"),
    }


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build_bento(root: Path, release: Path, store: Path, *, promoted: bool) -> Bento:
    """Return the bento of a release, built into ``store`` unless it is there and intact.

    It is built aside and moved into place whole. The same release, sources, lock and BentoML give the
    same tag and, but for the record of the release, the same bytes.

    Args:
        root: the project.
        release: the release's folder, verified here.
        store: BentoML's home.
        promoted: whether the history names this release as promoted.

    Raises:
        ReleaseRefused: the release was never promoted, or is not what its manifest says.
        HedonicError: BentoML failed; the message ends with what it said.
    """
    if not promoted:
        raise ReleaseRefused(
            f"release {release.name[:16]}: the history does not name it as promoted, so no bento is built of "
            "it. Bentos come from a promoting run: `make run`."
        )
    manifest = verify_release(release)
    digest = bento_digest(root, manifest.digest)
    name, version = f"hedonic-{manifest.dataset}", digest[:16]
    folder = stored_bento(store, f"{name}:{version}")
    # Not below HEDONIC_HOME: BentoML refuses to read below a hidden folder such as .hedonic.
    with tempfile.TemporaryDirectory(prefix="hedonic-bento-") as scratch:
        _stage(root, release, Path(scratch) / "stage", manifest, digest)
        built = _build(Path(scratch), name, version)
        if not _is_same(folder, built):
            _publish(built, folder)
    return Bento(f"{name}:{version}", digest, folder)


def tree_digest(bento: Path) -> str:
    """Return the sha256 over every file of a bento but the release's record and what serving compiled."""
    return hashlib.sha256(list_files(bento).encode()).hexdigest()


def list_files(bento: Path) -> str:
    """Return the content of ``files.sha256``: the same files, a line each."""
    return "".join(
        f"{_sha256(path)}  {path.relative_to(bento).as_posix()}\n"
        for path in sorted(bento.rglob("*"))
        if path.is_file() and path.name not in (RECORD, FILES) and not _is_compiled_beside(path)
    )


def _is_compiled_beside(path: Path) -> bool:
    """Return whether serving left the file; a ``.pyc`` elsewhere is imported like a source, and counts."""
    return path.suffix == ".pyc" and path.parent.name == "__pycache__"


def _is_same(folder: Path, built: Path) -> bool:
    """Return whether the bento in the store is the one that was built, to the byte."""
    listed = folder / FILES
    return listed.is_file() and listed.read_text(encoding="utf-8") == list_files(folder) == list_files(built)


def _stage(root: Path, release: Path, stage: Path, manifest: Manifest, digest: str) -> None:
    """Lay out what the bento will hold, and nothing else."""
    for path in served_sources(root):
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, stage / path)
    shutil.copyfile(_lock(root), stage / LOCK)
    shutil.copyfile(_recipe(root), stage / RECIPE.name)
    shutil.copytree(release, stage / BAKED / manifest.digest)
    config: dict[str, Any] = {
        "service": "bentos.valuation:Valuation",
        "name": f"hedonic-{manifest.dataset}",
        "description": f"Prices of {manifest.dataset}, release {manifest.digest}.",
        "labels": {LABEL: manifest.digest, CODE_LABEL: code_digest(root), BENTO_LABEL: digest},
        "include": ["src/", "bentos/", f"{BAKED}/"],
        "docker": {"system_packages": ["libgomp1"], **_python_of_image(root)},
        "python": {"is_src_layout": True, "requirements_txt": f"./{LOCK}", "lock_packages": False},
    }
    (stage / "bentofile.yaml").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _build(scratch: Path, name: str, version: str) -> Path:
    """Return the folder of the bento that BentoML makes of the stage, in a store of its own."""
    stage, home = scratch / "stage", scratch / "home"
    home.mkdir()
    command = [sys.executable, "-m", "bentoml", "build", "--version", version, "--output", "tag", "."]
    environment = {
        **os.environ,
        **QUIET_ENVIRONMENT,
        **NUMERIC_ENVIRONMENT,
        "BENTOML_HOME": str(home),
        "PYTHONPATH": str(stage / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        command, cwd=stage, env=environment, umask=0o022, timeout=_BUILD_LIMIT_S, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    built = home / "bentos" / name / version
    if done.returncode != 0 or not built.is_dir():
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise HedonicError(f"{name}:{version}: bentoml build ended with {done.returncode}: {said}")
    # BentoML adds itself to the requirements without a hash; the lock, which has it, is installed as it is.
    shutil.copyfile(stage / LOCK, built / LOCK_IN_BENTO)
    # BentoML's own recipe is a template in which nothing can be left out.
    shutil.copyfile(stage / RECIPE.name, built / RECIPE_IN_BENTO)
    facts = built / "bento.yaml"
    text, n_times = re.subn(r"^creation_time: .*$", _SAME_TIME, facts.read_text(encoding="utf-8"), flags=re.M)
    if n_times != 1:
        raise HedonicError(f"{name}:{version}: bento.yaml has {n_times} lines creation_time, not 1")
    facts.write_text(text, encoding="utf-8")
    (built / FILES).write_text(list_files(built), encoding="utf-8")
    return built


def _publish(built: Path, folder: Path) -> None:
    """Move the bento into the store whole, in place of one that is damaged."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".publishing-", dir=folder.parent))
    try:
        shutil.copytree(built, scratch / "bento")
        if folder.exists():
            folder.rename(scratch / "replaced")
        (scratch / "bento").rename(folder)
        (scratch / "latest").write_text(folder.name, encoding="utf-8")
        (scratch / "latest").replace(folder.parent / "latest")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Return the dotted names that a module imports at any depth, but for type checking."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                for branch in orelse:
                    yield from _imported(ast.Module([branch], []))
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                yield from _imported(node)


def _module_file(root: Path, module: str) -> list[Path]:
    """Return the file of a module of ours; nothing for anyone else's, or for a name inside a module."""
    package, _, rest = module.partition(".")
    if package not in _PACKAGES:
        return []
    path = _PACKAGES[package].joinpath(*rest.split(".")) if rest else _PACKAGES[package]
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if (root / file).is_file()]


def _lock(root: Path) -> Path:
    path = root / LOCK
    if not path.is_file():
        raise HedonicError(
            f"{LOCK}: not in {root}. It lists what serving needs; restore it from the repository."
        )
    return path


def _python_of_image(root: Path) -> dict[str, str]:
    """Return the Python that the recipe names; without it BentoML writes down the one that builds."""
    named = _BASE_IMAGE.search(_recipe(root).read_text(encoding="utf-8"))
    return {} if named is None else {"python_version": named[1]}


def _recipe(root: Path) -> Path:
    path = root / RECIPE
    if not path.is_file():
        raise HedonicError(
            f"{RECIPE}: not in {root}. The image is built by it; restore it from the repository."
        )
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
