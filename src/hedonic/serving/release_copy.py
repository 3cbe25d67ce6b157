"""The copy of a release that is kept elsewhere: fetched whole, under a temporary name, and renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import MANIFEST, RECORD, read_manifest
from hedonic.model.object_store import MissingObject, ObjectFolder


def copies_folder(home: Path | None) -> Path:
    """Return where copies are kept: in HEDONIC_HOME, or in a temporary folder of this user's alone."""
    if home is not None and os.access(home, os.W_OK):
        return home / "fetched"
    return Path(tempfile.gettempdir()) / f"hedonic-fetched-{os.getuid()}"


def fetch(url: str, release: str, folder: Path) -> None:
    """Make ``folder`` a copy of the release at ``url``, unless it is there: loading verifies it.

    The manifest is read first. It must be that of ``release``; what it names is fetched and nothing else.

    Raises:
        ReleaseRefused: it is another release, or half of one.
        HedonicError: the store does not answer, or the copy cannot be written.
    """
    if folder.is_dir():
        return
    _make_private(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        _fetch(ObjectFolder(url), release, scratch)
        scratch.rename(folder)
    except MissingObject as err:
        raise ReleaseRefused(f"{err}: it is no whole release. Copy it there again.") from err
    except OSError as err:
        if not folder.is_dir():  # else another process fetched it meanwhile
            raise HedonicError(f"{folder}: the copy of {url} cannot be written: {err.strerror}") from err
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a copy that is not what it should be; it is fetched again next time."""
    shutil.rmtree(folder, ignore_errors=True)


def _fetch(remote: ObjectFolder, release: str, scratch: Path) -> None:
    (scratch / MANIFEST).write_bytes(remote.read(MANIFEST))
    manifest = read_manifest(scratch)
    if manifest.digest != release:
        raise ReleaseRefused(
            f"{remote.url}: {MANIFEST} has digest {manifest.digest}, asked for {release}: the manifest was "
            "edited or this is another release."
        )
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/"):
            raise ReleaseRefused(f"{remote.url}: {MANIFEST} names {name!r}, which is outside the release")
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(remote.read(name))
    try:
        (scratch / RECORD).write_bytes(remote.read(RECORD))
    except MissingObject:  # nobody wrote down who made it
        return


def _make_private(folder: Path) -> None:
    """Make the folder of copies; in a temporary folder it must be nobody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise HedonicError(
            f"{folder}: belongs to someone else. Set HEDONIC_HOME to a folder that can be written."
        )
