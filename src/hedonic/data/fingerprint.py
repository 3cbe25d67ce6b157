"""The fingerprint of a source: what tells cheaply, without reading it, that it may have changed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

ABSENT = "absent"

# What file systems call the digest of a file's content, and when it was last written.
_OF_CONTENT = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "content_hash", "checksum", "generation")
_OF_TIME = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "modified", "created")


def local_path(uri: str) -> Path | None:
    """Return the file that a resolved source URI names on this machine, None for a remote one."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)


def fingerprint(uri: str) -> str | None:
    """Return what changes whenever the source is written; None when nothing but reading it can tell.

    A local file's is its size, times and inode; a remote one's its ETag or checksum, else its size and
    time. It also changes when a file is touched or copied: what it *holds* is told by a snapshot.
    """
    path = local_path(uri)
    if path is not None:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"
    return _remote_fingerprint(uri)


def _remote_fingerprint(uri: str) -> str | None:
    import fsspec

    try:
        system, name = fsspec.core.url_to_fs(uri)
        system.invalidate_cache()
        told: Mapping[str, Any] = system.info(name)
    except FileNotFoundError:
        return ABSENT
    except (OSError, ImportError, ValueError):
        return None  # reading it will tell what is wrong
    for known in (_OF_CONTENT, _OF_TIME):
        facts = [f"{fact}={told[fact]}" for fact in known if told.get(fact)]
        if facts:
            return ":".join([str(told.get("size")), *facts])
    return None


def is_being_written(path: Path, quiet_s: float) -> bool:
    """Return whether the file came or changed within the last seconds, or is held open to be written.

    The kernel is asked for a read lease, which it refuses while anyone can write to the file. It grants
    leases to a file's owner only: for other people's files the time alone is known.
    """
    try:
        # Not the time of writing, which a copy or a rename brings with it: that of any change at all.
        if 0 <= time.time() - path.stat().st_ctime < quiet_s:
            return True
        with path.open("rb") as file:
            # Whoever opens the file while we hold the lease, for microseconds, makes the kernel send us a
            # signal. SIGURG is ignored where nobody asked for it; the default, SIGIO, would end us.
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except BlockingIOError:
                return True
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False  # not there, not ours, or a file system without leases
    return False


def lacks_its_end(path: Path) -> bool:
    """Return whether the file is CSV whose last line is not ended: it is cut, or its writer ends none."""
    if path.suffix != ".csv":
        return False
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) not in (b"\n", b"\r")
    except OSError:
        return False


def content_digest(uri: str) -> str | None:
    """Return the sha256 of the source's bytes; None when they cannot be read."""
    import fsspec

    try:
        with fsspec.open(uri, "rb") as source:
            digest = hashlib.sha256()
            while chunk := cast(BinaryIO, source).read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except (OSError, ImportError, ValueError):
        return None
