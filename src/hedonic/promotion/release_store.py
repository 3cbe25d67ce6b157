"""The release store: where releases are kept for those who serve them elsewhere."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import MANIFEST, RECORD, read_manifest, verify_release
from hedonic.model.object_store import MissingObject, ObjectFolder
from hedonic.promotion.release import publish


def publish_release(folder: Path, store: str) -> str:
    """Return the URL of the release in a store, ``<store>/<data set>/<digest>``, after copying it there.

    A copy that is there and intact is left alone but for the record, which may be written again later.
    What was copied is read back and verified. The manifest is written last: without it there is no release.

    Args:
        folder: the release, verified here.
        store: ``s3://bucket/prefix``, a path or ``file://``.

    Raises:
        ReleaseRefused: the release, or what came back from the store, is not what its manifest says.
        HedonicError: the store cannot be read or written.
    """
    manifest = verify_release(folder)
    url = f"{store.rstrip('/')}/{manifest.dataset}/{manifest.digest}"
    scheme = urlsplit(store).scheme
    if scheme in ("", "file"):
        _copy(folder, Path(unquote(urlsplit(url).path) if scheme else url))
        return url
    remote = ObjectFolder(url)
    if not _intact(remote, manifest.digest):
        for name in (*manifest.files, MANIFEST):
            remote.write(name, (folder / name).read_bytes())
        if not _intact(remote, manifest.digest):
            raise ReleaseRefused(f"{url}: is not what was written there. Look at the store, then run again.")
    if (folder / RECORD).is_file():
        remote.write(RECORD, (folder / RECORD).read_bytes())
    return url


def _intact(remote: ObjectFolder, release: str) -> bool:
    """Return whether the whole release can be read from the store."""
    with tempfile.TemporaryDirectory(prefix="hedonic-release-") as scratch:
        copy = Path(scratch) / release
        copy.mkdir()
        try:
            (copy / MANIFEST).write_bytes(remote.read(MANIFEST))
            for name in read_manifest(copy).files:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes(remote.read(name))
            verify_release(copy)
        except (MissingObject, ReleaseRefused):
            return False
    return True


def _copy(folder: Path, target: Path) -> None:
    """Copy the release to a folder that others see too, whole or not at all."""
    if target.resolve() == folder.resolve():
        return
    if not target.is_absolute():
        raise HedonicError(f"{target}: not an absolute path. Set HEDONIC_STORE_URL to one.")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        if target.is_dir():
            verify_release(target)
            if (folder / RECORD).is_file():
                shutil.copyfile(folder / RECORD, scratch / RECORD)
                (scratch / RECORD).replace(target / RECORD)
            return
        shutil.copytree(folder, scratch / target.name)
        verify_release(scratch / target.name)
        publish(scratch / target.name, target)
    except OSError as err:
        raise HedonicError(f"{target}: the release cannot be copied there: {err}") from err
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
