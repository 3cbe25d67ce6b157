"""The built bento: what is inside one, against its tag and the history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import verify_release
from hedonic.promotion.bento import (
    BAKED,
    BENTO_LABEL,
    CODE_LABEL,
    FILES,
    LABEL,
    LOCK_IN_BENTO,
    bento_labels,
    held_digest,
    list_files,
)

_DESCRIPTION = "bento.yaml"
_AGAIN = "Restore it from a backup, or build it again: `hedonic bento`."


@dataclass(frozen=True, slots=True)
class BuiltBento:
    """A bento whose files are what its tag says.

    Attributes:
        tag: ``hedonic-<data set>:<16 hex digits>``.
        release: the digest of the one release in it.
        code: the digest of what it serves by, without the release.
        files: sha256 over every file of it, as the history records it.
        is_listed: whether it lists its files; one that was built before bentos did does not, and of
            its files only sources, lock and release are vouched for.
    """

    tag: str
    release: str
    code: str
    files: str
    is_listed: bool


def verify_bento(folder: Path, files: str | None = None) -> BuiltBento:
    """Return the bento in ``folder``, after its digest was computed again from what is in it.

    Args:
        folder: ``<BentoML's home>/bentos/hedonic-<data set>/<16 hex digits>``.
        files: sha256 over every file, where the history recorded it.

    Raises:
        ReleaseRefused: a file is changed, missing or extra, a link, or it is another bento; all are named.
    """
    tag = f"{folder.parent.name}:{folder.name}"
    if not (folder / _DESCRIPTION).is_file():
        raise ReleaseRefused(f"bento {tag}: not in {folder.parents[2]}. `hedonic run` builds it again.")
    problems = list(_links(folder)) or list(_changes(folder))
    if files is not None and not (folder / FILES).is_file():
        problems.append(f"{FILES}: missing, and the history recorded what it said")
    if problems:
        raise ReleaseRefused(f"bento {tag}: {'; '.join(problems)}. {_AGAIN}")
    found = hashlib.sha256(list_files(folder).encode()).hexdigest()
    if files not in (None, found):
        raise ReleaseRefused(
            f"bento {tag}: its files have sha256 {found}, the history recorded {files}. {_AGAIN}"
        )
    try:
        release, held = _release(folder, tag), _held_code(folder)
        digest, code = held_digest(folder), _digest(held)
        labels = bento_labels(folder)
    except (KeyError, TypeError, ValueError, OSError, yaml.YAMLError) as err:
        raise ReleaseRefused(
            f"bento {tag}: not what `bentoml build` makes of ours: {err!r}. {_AGAIN}"
        ) from err
    problems = [
        f"{_DESCRIPTION}: label {name} says {labels.get(name)}, its files say {value}"
        for name, value in {LABEL: release, CODE_LABEL: code, BENTO_LABEL: digest}.items()
        if labels.get(name) not in (None, value)  # one that was built before the label was
    ]
    if digest[:16] != folder.name:
        problems.insert(0, f"sources, lock and release have digest {digest}, another than its tag")
    if problems:
        raise ReleaseRefused(f"bento {tag}: {'; '.join(problems)}. {_AGAIN}")
    return BuiltBento(tag, release, code, found, (folder / FILES).is_file())


def baked_release(folder: Path) -> str | None:
    """Return the name of the one release folder in a bento, unchecked; None where there is not one."""
    found = [path.name for path in (folder / "src" / BAKED).glob("*")]
    return found[0] if len(found) == 1 else None


def _links(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            yield f"{path.relative_to(folder).as_posix()}: a link or device"


def _changes(folder: Path) -> Iterator[str]:
    """Yield what differs from the bento's own list of its files; nothing where it has none."""
    try:
        text = (folder / FILES).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except ValueError:
        yield f"{FILES}: not a list of files"
        return
    listed, found = _parsed(text), _parsed(list_files(folder))
    yield from (f"{name}: missing" for name in sorted(listed.keys() - found.keys()))
    yield from (f"{name}: not in {FILES}" for name in sorted(found.keys() - listed.keys()))
    for name in sorted(listed.keys() & found.keys()):
        if listed[name] != found[name]:
            yield f"{name}: changed (sha256 {found[name][:12]}…, {FILES} {listed[name][:12]}…)"
    if text != list_files(folder) and listed == found:
        yield f"{FILES}: changed"


def _parsed(text: str) -> dict[str, str]:
    """Return the sha256 of each file by its path."""
    pairs = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in pairs}


def _release(folder: Path, tag: str) -> str:
    """Return the digest of the release in the bento, verified."""
    name = baked_release(folder)
    if name is None:
        raise ReleaseRefused(f"bento {tag}: not exactly one release in src/{BAKED}. {_AGAIN}")
    try:
        return verify_release(folder / "src" / BAKED / name).digest
    except ReleaseRefused as err:
        raise ReleaseRefused(f"bento {tag}: {err}") from err


def _held_code(folder: Path) -> dict[str, Any]:
    """Return what the bento serves by, in the form that ``bento.code_digest`` hashes for a project."""
    source = folder / "src"
    sources = {
        f"{'src/' if package == 'hedonic' else ''}{path.relative_to(source).as_posix()}": _sha256(path)
        for package in ("bentos", "hedonic")
        for path in (source / package).rglob("*.py")
    }
    facts = yaml.safe_load((folder / _DESCRIPTION).read_bytes())
    return {
        "sources": sources, "lock": _sha256(folder / LOCK_IN_BENTO), "bentoml": str(facts["bentoml_version"]),
    }  # fmt: skip


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
