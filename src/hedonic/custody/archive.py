"""The archive of a backup: plain files in one tar file, and at its end a manifest with their digests."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal

from pydantic import Field, ValidationError

from hedonic.data.contract import Frozen, Name
from hedonic.errors import HedonicError, UserError
from hedonic.model.manifest import Sha256

FORMAT_VERSION = 1
MANIFEST = "hedonic-backup.json"

_CHUNK = 1 << 20
_NAMED = 5
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError, ValueError)


class Archived(Frozen):
    """A file of the archive."""

    sha256: Sha256
    n_bytes: Annotated[int, Field(ge=0)]


class ArchiveManifest(Frozen):
    """What the archive holds.

    Attributes:
        made_at: ISO 8601 in UTC.
        home: the folder that it was made of, which MLflow's store names.
        head: hash of the history's last record; None without one.
        champions: release digest by data set.
        left_out: stores that it does not hold, and why.
        files: by their names, relative to the home.
    """

    format_version: Literal[1] = 1
    made_at: str
    home: str
    head: Sha256 | None
    champions: dict[Name, Sha256]
    left_out: tuple[str, ...] = ()
    files: dict[str, Archived]


class ArchiveWriter:
    """An archive that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """Begin; see ``new_archive``."""
        self._tar = tar
        self.files: dict[str, Archived] = {}

    def add(self, name: str, path: Path, n_bytes: int | None = None) -> None:
        """Add a file under a name; its first ``n_bytes`` alone where that is given.

        Raises:
            HedonicError: it became shorter meanwhile.
        """
        with path.open("rb") as file:
            info = self._tar.gettarinfo(arcname=name, fileobj=file)
            info.type, info.size = tarfile.REGTYPE, info.size if n_bytes is None else n_bytes
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            hashed = _Hashed(file)
            try:
                self._tar.addfile(info, hashed)
            except OSError as err:
                raise HedonicError(f"{path}: cannot be backed up: {err}. Run the command again.") from err
        self.files[name] = Archived(sha256=hashed.digest.hexdigest(), n_bytes=info.size)

    def seal(self, manifest: ArchiveManifest) -> None:
        """Write the manifest; nothing comes after it."""
        content = manifest.model_dump_json(indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(content), 0o600
        self._tar.addfile(info, BytesIO(content))


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Give an archive to be written; it is at ``path`` once it is whole, and for its owner alone to read.

    Raises:
        HedonicError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch(mode=0o600)
        with part.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
                yield ArchiveWriter(tar)
            file.flush()
        part.replace(path)
    except OSError as err:
        raise HedonicError(f"{path}: cannot be written: {err}") from err
    finally:
        part.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> ArchiveManifest:
    """Return the manifest of an archive, every file of which is now below ``folder``, as it says.

    Raises:
        UserError: there is no such archive.
        HedonicError: it is damaged, or no backup of ours: links, devices and names that lead elsewhere are
            refused. All files that are wrong are named.
    """
    try:
        with gzip.open(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            found = dict(_unpacked(tar, archive, folder))
            while file.read(_CHUNK):  # to its end, where gzip's own checksum is
                pass
    except FileNotFoundError as err:
        raise UserError(f"{archive}: no such file. Name an archive that `hedonic backup` wrote.") from err
    except _DAMAGED as err:
        raise _damaged(archive, f"cannot be read to its end: {err}") from err
    if MANIFEST not in found:
        raise _damaged(archive, f"{MANIFEST} is missing, which is its end")
    manifest = _manifest(archive, folder / MANIFEST)
    (folder / MANIFEST).unlink()
    del found[MANIFEST]
    problems = [f"{name}: missing" for name in sorted(manifest.files.keys() - found.keys())]
    problems += [f"{name}: not in its manifest" for name in sorted(found.keys() - manifest.files.keys())]
    problems += [
        f"{name}: changed (sha256 {found[name].sha256[:12]}…, manifest {stated.sha256[:12]}…)"
        for name, stated in manifest.files.items()
        if name in found and found[name] != stated
    ]
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise _damaged(archive, "; ".join(problems[:_NAMED]) + more)
    return manifest


def _unpacked(tar: tarfile.TarFile, archive: Path, folder: Path) -> Iterator[tuple[str, Archived]]:
    seen: set[str] = set()
    for member in tar:
        name = _checked(archive, member, folder)
        if name in seen or MANIFEST in seen:
            raise _damaged(archive, f"{name}: there twice, or after {MANIFEST}")
        seen.add(name)
        if member.size > shutil.disk_usage(folder).free:
            raise HedonicError(f"{archive}: {name}: no room for its {member.size:,} bytes below {folder}")
        source, path = tar.extractfile(member), folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, n_bytes = hashlib.sha256(), 0
        with path.open("xb") as target:
            while source is not None and (chunk := source.read(_CHUNK)):
                digest.update(chunk)
                n_bytes += len(chunk)
                target.write(chunk)
        path.chmod(0o755 if (member.mode or 0) & 0o100 else 0o644)
        yield name, Archived(sha256=digest.hexdigest(), n_bytes=n_bytes)


def _checked(archive: Path, member: tarfile.TarInfo, folder: Path) -> str:
    """Return the name of a member that is a plain file inside the folder.

    Raises:
        HedonicError: it is anything else.
    """
    name, parts = member.name, PurePosixPath(member.name).parts
    try:
        tarfile.data_filter(member, str(folder))
    except tarfile.FilterError as err:
        raise _damaged(archive, f"{name!r} is no file of a backup: {err}") from err
    plain = "/".join(parts) == name and not {"..", "/"} & set(parts) and "\\" not in name
    if not (member.isreg() and plain):
        told = "a link, a device, or a name that leads away"
        raise _damaged(archive, f"{name!r} is no file of a backup: {told}")
    return name


def _manifest(archive: Path, path: Path) -> ArchiveManifest:
    try:
        return ArchiveManifest.model_validate_json(path.read_bytes())
    except ValidationError as err:
        told = err.errors(include_input=False)[0]
        if told["loc"] == ("format_version",):
            raise HedonicError(
                f"{archive}: of another format than {FORMAT_VERSION}, which this Hedonic reads. Upgrade it."
            ) from err
        raise _damaged(archive, f"{MANIFEST}: {told['msg']} at {'.'.join(map(str, told['loc']))}") from err


def _damaged(archive: Path, told: str) -> HedonicError:
    return HedonicError(f"{archive}: damaged: {told}. Nothing was changed; take another backup.")


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        content = self._file.read(n)
        self.digest.update(content)
        return content
