"""The pointer: what an endpoint serves, as a small file that follows the history."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from hedonic.data.contract import Frozen, Name
from hedonic.durable_file import write_durably
from hedonic.promotion.history import History
from hedonic.promotion.record import Digest, Record


class Pointer(Frozen):
    """The release that the endpoint of a data set serves; ``folder`` is relative to HEDONIC_HOME."""

    format_version: Literal[1] = 1
    dataset: Name
    release: Digest
    folder: str
    bento: str | None
    promoted_at: str


def pointer_path(home: Path, dataset: str) -> Path:
    """Return where the endpoint of a data set looks for its pointer."""
    return home / "serving" / f"{dataset}.json"


def read_pointer(home: Path, dataset: str) -> Pointer | None:
    """Return what the file says, None when there is no file or it is not a pointer."""
    try:
        return Pointer.model_validate_json(pointer_path(home, dataset).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def project_pointer(history: History, home: Path, dataset: str) -> Pointer | None:
    """Return the pointer as the history has it, after the file was made to say the same.

    One process at a time: who read the champion earlier also writes earlier, so the file never goes back to
    an older one. The champion is read again after each write. With no champion the file is removed.
    """
    path = pointer_path(home, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            pointer = _pointer(history.champion(dataset))
            if read_pointer(home, dataset) == pointer and (pointer or not path.exists()):
                return pointer
            if pointer is None:
                path.unlink(missing_ok=True)
            else:
                write_durably(path, pointer.model_dump_json(indent=1) + "\n")


def _pointer(champion: Record | None) -> Pointer | None:
    if champion is None or champion.release is None:
        return None
    return Pointer(
        dataset=champion.dataset,
        release=champion.release,
        folder=f"releases/{champion.dataset}/{champion.release}",
        bento=champion.bento,
        promoted_at=champion.at,
    )
