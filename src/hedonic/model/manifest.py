"""The manifest of a release, and the check that a release folder is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from hedonic.data.contract import Frozen, Name
from hedonic.errors import ReleaseRefused
from hedonic.model.plain_files import UNREADABLE

FORMAT_VERSION = 1
MANIFEST, RECORD, CONTRACT, GOLDEN = "manifest.json", "record.json", "contract.json", "golden.json"
MODEL, JUDGED, SEEN_ROWS = "model", "judged", "seen_rows.npy"
PLAIN_SUFFIXES = frozenset({".json", ".npy", ".txt"})

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestFacts(Frozen):
    """What a release was made from; nothing that differs between two makings of the same.

    Attributes:
        configuration: everything that shaped the model and is not the data: the winning family, its
            parameters and rounds, trials asked for, families searched, the refit.
        lock: sha256 of the hash-locked requirements.
        code: sha256 of the code tree.
        reproducible: False when a time limit cut the study.
    """

    dataset: Name
    snapshot: Sha256
    split: Sha256
    configuration: dict[str, Any]
    seed: int
    lock: Sha256
    code: Sha256
    reproducible: bool = True


class Manifest(ManifestFacts):
    """The facts, and the sha256 of every file of the release by its relative path."""

    format_version: Literal[1] = 1
    files: dict[str, Sha256]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of ``manifest.json``."""
        content = self.model_dump(mode="json")
        return (json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()

    @property
    def digest(self) -> str:
        """Return the release digest: sha256 of the canonical bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


class ReleaseRecord(Frozen):
    """Who made a release, when and in which run: kept beside it, outside every digest.

    Attributes:
        images: where its images were pushed: the digest that a registry gave, by the name there.
        commit: that was checked out, ``-dirty`` behind it where files differed from it.
        contract: digest of the contract's meaning.
        source_uri, source_sha256: of the file that the snapshot was made of.
        validation: sha256 of the report that let the rows pass, and ``as_of`` the day it was about.
        toolchain: Python, the versions and the variables that the numbers came from.
    """

    format_version: Literal[1] = 1
    dataset: Name
    release: Sha256
    created_by: str
    created_at: str
    version: str | None = None
    mlflow_run_id: str | None = None
    study: str | None = None
    trial: int | None = None
    commit: str | None = None
    bento: str | None = None
    images: dict[str, str] = Field(default_factory=dict, exclude_if=lambda images: not images)
    contract: Sha256 | None = None
    source_uri: str | None = None
    source_sha256: Sha256 | None = None
    validation: Sha256 | None = None
    as_of: date | None = None
    toolchain: dict[str, str] = Field(default_factory=dict)
    figures: dict[str, float | None] = Field(default_factory=dict)

    @field_validator("figures")
    @classmethod
    def _finite_or_none(cls, figures: dict[str, float | None]) -> dict[str, float | None]:
        # JSON has no NaN: a figure that is not finite is kept by name, without a value.
        return {k: v if v is not None and math.isfinite(v) else None for k, v in figures.items()}


class Golden(Frozen):
    """Rows as a caller sends them, each with the prediction that the release gives."""

    instances: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    answers: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]

    def to_json(self) -> str:
        """Return the canonical text of ``golden.json``."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False) + "\n"


def digest_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below ``folder`` but its manifest and record, by relative path.

    Raises:
        ReleaseRefused: something in it is not a plain file, or of a kind that could hold code.
    """
    digests, problems = {}, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            problems.append(f"{name}: a link or device")
        elif path.is_file() and name not in (MANIFEST, RECORD):
            if path.suffix not in PLAIN_SUFFIXES:
                problems.append(f"{name}: a release holds {', '.join(sorted(PLAIN_SUFFIXES))} only")
            with path.open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if problems:
        raise ReleaseRefused(f"release {folder.name}: {'; '.join(problems)}. Remove it.")
    return digests


def verify_release(folder: Path, expected: str | None = None) -> Manifest:
    """Return the manifest of the release in ``folder``, every file of which is what it says.

    Args:
        folder: the release.
        expected: the release digest that was asked for; by default the folder's name.

    Raises:
        ReleaseRefused: a file is changed, missing or extra, or it is another release; all are named.
    """
    if expected is None:
        expected = folder.name
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise ReleaseRefused(f"release {folder.name}: {expected!r} is not a release digest (64 hex digits)")
    manifest = read_manifest(folder)
    if manifest.digest != expected:
        raise ReleaseRefused(
            f"release {folder.name}: {MANIFEST} has digest {manifest.digest}, asked for {expected}: "
            "the manifest was edited or this is another release. Restore it, or make the release again."
        )
    found = digest_files(folder)
    problems = [f"{name}: missing" for name in manifest.files.keys() - found.keys()]
    problems += [f"{name}: not in the manifest" for name in found.keys() - manifest.files.keys()]
    problems += [
        f"{name}: changed (sha256 {found[name][:12]}…, manifest {digest[:12]}…)"
        for name, digest in manifest.files.items()
        if name in found and found[name] != digest
    ]
    if problems:
        raise ReleaseRefused(
            f"release {folder.name}: {'; '.join(sorted(problems))}. "
            "Restore the files, or make the release again."
        )
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in ``folder``, not compared with anything.

    Raises:
        ReleaseRefused: there is none, it is not canonical, or its format is newer than this Hedonic.
    """
    where = f"release {folder.name}: {MANIFEST}"
    content = _read(folder / MANIFEST, where)
    try:
        version = json.loads(content).get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ReleaseRefused(
                f"{where}: format {version} is newer than {FORMAT_VERSION}. Upgrade Hedonic."
            )
        manifest = Manifest.model_validate_json(content)
    except UNREADABLE as err:
        raise ReleaseRefused(f"{where}: not a manifest: {err}") from err
    if manifest.to_bytes() != content:
        raise ReleaseRefused(
            f"{where}: edited: not in canonical form. Restore it, or make the release again."
        )
    return manifest


def read_golden(folder: Path) -> Golden:
    """Return the golden rows of the release in ``folder``.

    Raises:
        ReleaseRefused: they cannot be read.
    """
    where = f"release {folder.name}: {GOLDEN}"
    try:
        golden = Golden.model_validate_json(_read(folder / GOLDEN, where))
    except ValidationError as err:
        raise ReleaseRefused(f"{where}: not golden rows: {err}") from err
    if len(golden.instances) != len(golden.answers):
        raise ReleaseRefused(f"{where}: {len(golden.instances)} rows but {len(golden.answers)} answers")
    return golden


def read_record(folder: Path) -> ReleaseRecord | None:
    """Return the record beside the release in ``folder``; None where nobody wrote one."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return ReleaseRecord.model_validate_json(path.read_bytes())
    except ValidationError as err:
        raise ReleaseRefused(f"release {folder.name}: {RECORD}: not a record: {err}") from err


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        reason = f"{where}: cannot be read ({err.strerror}). Is {path.parent} a release?"
        raise ReleaseRefused(reason) from err
