"""The custody lock: nothing is collected or replaced while it is being verified or backed up."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hedonic.errors import HedonicError


@contextmanager
def looking(home: Path) -> Iterator[None]:
    """Let many look at what is kept, once nobody takes anything away.

    Where this user may not write there is no lock, and nothing that he could take away.
    """
    if not os.access(home, os.W_OK):
        yield
        return
    with _locked(home, fcntl.LOCK_SH):
        yield


@contextmanager
def taking(home: Path) -> Iterator[None]:
    """Let one take things away, and nobody look meanwhile.

    Raises:
        HedonicError: somebody looks or takes now.
    """
    with _locked(home, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _locked(home: Path, how: int) -> Iterator[None]:
    handle = os.open(home / "custody.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    except BlockingIOError as err:
        raise HedonicError(
            f"{home}: is being verified, backed up, restored or collected by another process. "
            "Nothing was changed; run the command again when that is over."
        ) from err
    finally:
        os.close(handle)
