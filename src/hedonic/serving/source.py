"""Where the release that is served comes from: baked into the bento, or the champion of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hedonic.errors import ReleaseRefused, UserError

BAKED = "baked_release"


@dataclass(frozen=True, slots=True)
class Source:
    """A release to be loaded: its folder, the digest it must have, and how it was found.

    ``bento`` is the tag of the bento that the champion was released in, where it was.
    """

    folder: Path
    release: str
    origin: Literal["baked", "champion"]
    bento: str | None = None


class _Pointer(BaseModel):
    """What a server needs of ``$HEDONIC_HOME/serving/<data set>.json``, which promotion writes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: str
    release: str
    folder: str
    bento: str | None = None


def baked_source(code: Path) -> Source | None:
    """Return the release baked into the bento that ``code`` is the source folder of; None outside one.

    Raises:
        ReleaseRefused: it is a bento's folder, and not exactly one release is in it.
    """
    releases = sorted((code / BAKED).glob("*"))
    in_bento = (code.parent / "bento.yaml").is_file()
    if not releases and not in_bento:
        return None
    if len(releases) != 1:
        raise ReleaseRefused(
            f"bento {code.parent.name}: holds {len(releases)} releases in {BAKED}, not 1. Bentos are built "
            "by a promoting run: `make run`, not by `bentoml build`."
        )
    return Source(releases[0], releases[0].name, "baked")


def champion_source(home: Path, dataset: str) -> Source:
    """Return the release that the pointer of ``dataset`` names.

    Raises:
        UserError: nothing was promoted yet.
        ReleaseRefused: the pointer cannot be read, or its folder is gone.
    """
    path = home / "serving" / f"{dataset}.json"
    try:
        pointer = _Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError as err:
        raise UserError(
            f"{dataset}: no champion to serve yet ({path.name} is not in {path.parent}). "
            f"Run `make run` first, or `hedonic run {dataset}`."
        ) from err
    except ValidationError as err:
        raise ReleaseRefused(f"{path}: not a pointer: {err}. `hedonic status` repairs it.") from err
    folder = home / pointer.folder
    if pointer.dataset != dataset or not folder.is_dir():
        raise ReleaseRefused(
            f"{path}: names {pointer.folder} of {pointer.dataset}, which is not there. "
            f"Run `hedonic run {dataset}`."
        )
    return Source(folder, pointer.release, "champion", pointer.bento)
