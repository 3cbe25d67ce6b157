"""Where BentoML keeps its tasks: a file of this service alone, in our home, that a restart forgets."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import MutableMapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from hedonic.errors import HedonicError
from hedonic.serving.responses import error_body

RESULT_STORE = "BENTOML_RESULT_STORE"

_KEPT_S = 48 * 3600.0  # BentoML itself keeps a result for 24 hours

_ORPHANS = "UPDATE result SET status = 'failed', result = ?, completed_at = ? WHERE status = 'in_progress'"


def place_job_store(environment: MutableMapping[str, str], home: Path | None) -> Path:
    """Return the file for the tasks of this service, named in the environment from now on.

    BentoML's own is one file for all services of a home, which each of them empties when it starts. What a
    service that is gone left behind is deleted: at once if it ran on this host, else after two days.

    Args:
        environment: of the process and of its workers.
        home: HEDONIC_HOME; None: a temporary folder.

    Raises:
        HedonicError: the temporary folder is someone else's.
    """
    folder = (
        home / "tasks" if home is not None else Path(tempfile.gettempdir()) / f"hedonic-tasks-{os.getuid()}"
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise HedonicError(f"{folder}: belongs to another user. Set HEDONIC_HOME to a folder of your own.")
    path = folder / f"{socket.gethostname()}-{os.getpid()}.db"
    for left in folder.glob("*.db*"):
        if left.name.startswith(path.name) or _is_left_behind(left):
            left.unlink(missing_ok=True)
    environment[RESULT_STORE] = str(path)
    return path


def fail_orphans(path: Path) -> int:
    """Return how many tasks a worker that died had begun: nobody works on them, so they have failed now."""
    told = "the process that worked on this task ended; submit it again"
    content = {
        "status": 503,
        "headers": [["content-type", "application/json"]],
        "content": base64.b64encode(error_body("task_lost", told, "")).decode(),
    }
    with closing(sqlite3.connect(path, timeout=5.0)) as connection, connection:
        found = connection.execute(_ORPHANS, (json.dumps(content).encode(), str(datetime.now(UTC))))
        return found.rowcount


def _is_left_behind(file: Path) -> bool:
    host, _, pid = file.name.partition(".db")[0].rpartition("-")
    if host == socket.gethostname() and pid.isdigit():
        return not _is_alive(int(pid))
    with contextlib.suppress(FileNotFoundError):
        return time.time() - file.stat().st_mtime > _KEPT_S
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
