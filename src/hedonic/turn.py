"""The turn to train a data set: one process of a HEDONIC_HOME has it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

logger = logging.getLogger("hedonic.turn")

_held: dict[Path, int] = {}


class Turn:
    """The right to train a data set.

    Prefect keeps runs of our deployments apart by its own limits. This holds for a run at the command line
    too, and for a run that Prefect takes for crashed and starts again while its process still lives. The
    kernel ends the turn of a process that is killed.
    """

    def __init__(self, home: Path, dataset: str) -> None:
        """Name the data set; nobody's turn changes yet."""
        self._path = home / "turns" / f"{dataset}.lock"

    def take(self) -> None:
        """Return once it is this process's turn; at once where it is already."""
        if self._path in _held:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            logger.info("%s is in training by process %s; waiting for its end", self._path.stem, holder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        with contextlib.suppress(OSError):  # a full disk: only the message would tell less
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        _held[self._path] = handle

    def end(self) -> None:
        """Let the next one have its turn; nothing where it was not this process's."""
        handle = _held.pop(self._path, None)
        if handle is not None:
            os.close(handle)
