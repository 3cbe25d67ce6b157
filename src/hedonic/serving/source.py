"""Where the release that is served comes from: what a URI names now.

| ``HEDONIC_RELEASE_URI`` | names | moves |
|---|---|---|
| not set | the release baked into the bento; outside one, ``champion:<HEDONIC_DATASET>`` | |
| ``champion:<data set>`` | the champion, by the pointer in HEDONIC_HOME | yes |
| ``models:/hedonic-<data set>@<alias>`` | a registry's alias; the release is in HEDONIC_STORE_URL | yes |
| ``/path/<digest>``, ``file:///path/<digest>`` | a folder | no |
| ``s3://bucket/prefix/<digest>`` | a folder in S3 | no |
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from hedonic.errors import ReleaseRefused, UserError
from hedonic.served_settings import SourceSettings
from hedonic.serving.registry_alias import RegistryAlias, read_alias
from hedonic.serving.release_copy import copies_folder

BAKED = "baked_release"
CHAMPION, REGISTRY = "champion:", "models:/"
MODEL_PREFIX = "hedonic-"

Kind = Literal["baked", "champion", "registry", "folder", "s3"]

_FORMS = (
    "Give champion:<data set>, models:/hedonic-<data set>@champion, an absolute path, file:///… or s3://…, "
    "or unset HEDONIC_RELEASE_URI."
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a release is, as a URI named it when it was looked at.

    Attributes:
        uri: what named it.
        release: the digest that it must have.
        folder: where it is, or where its copy goes.
        remote: the URL of the folder that it is copied from; None where ``folder`` is the release itself.
        dataset: what it must be a release of; None where the URI does not say.
        bento: the tag of the bento that the champion was released in, where it was.
        mark: is another one each time the source was written, also where it names the same release.
    """

    uri: str
    kind: Kind
    release: str
    folder: Path
    remote: str | None = None
    dataset: str | None = None
    bento: str | None = None
    mark: str = ""

    @property
    def moves(self) -> bool:
        """Return whether the URI can name another release later."""
        return self.kind in ("champion", "registry")


class _Pointer(BaseModel):
    """What a server needs of ``$HEDONIC_HOME/serving/<data set>.json``, which promotion writes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: str
    release: str
    folder: str
    bento: str | None = None


def find_source(settings: SourceSettings, code: Path) -> Source:
    """Return where the release to be served is now; never a second choice.

    Args:
        settings: name it.
        code: the folder of the served sources: a bento's, or the project's.

    Raises:
        UserError: the settings name nothing that can be served; the message says what to set.
        ReleaseRefused: what they name is not there, or is not the release that HEDONIC_RELEASE asks for.
        HedonicError: what they name could not be asked.
    """
    source = None if settings.release_uri else baked_source(code)
    source = source or resolve(settings.release_uri or f"{CHAMPION}{settings.dataset}", settings)
    if settings.release not in (None, source.release):
        raise ReleaseRefused(
            f"{source.uri}: names release {source.release}, and HEDONIC_RELEASE asks for {settings.release}. "
            "Correct the one or the other, or unset HEDONIC_RELEASE."
        )
    return source


def resolve(uri: str, settings: SourceSettings) -> Source:
    """Return where the release is that ``uri`` names now. Nothing is copied or loaded here.

    Raises:
        UserError, ReleaseRefused, HedonicError: as ``find_source``.
    """
    if uri.startswith(CHAMPION):
        dataset = uri.removeprefix(CHAMPION)
        if settings.home is None:
            raise UserError(f"{uri}: HEDONIC_HOME is not set, and the pointer is in it. Set HEDONIC_HOME.")
        return champion_source(settings.home, dataset)
    if uri.startswith(REGISTRY):
        return _alias_source(uri, settings)
    scheme = urlsplit(uri).scheme
    if scheme == "s3":
        release = _digest(uri, settings)
        return Source(uri, "s3", release, copies_folder(settings.home) / release, remote=uri)
    if scheme == "file" or uri.startswith("/"):
        path = Path(unquote(urlsplit(uri).path) if scheme else uri)
        return Source(uri, "folder", _digest(path.as_posix(), settings), path)
    raise UserError(f"HEDONIC_RELEASE_URI: {uri!r} names no release that can be served. {_FORMS}")


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
    return Source("baked", "baked", releases[0].name, releases[0])


def champion_source(home: Path, dataset: str) -> Source:
    """Return the release that the pointer of ``dataset`` names.

    Raises:
        UserError: nothing was promoted yet.
        ReleaseRefused: the pointer cannot be read, or its folder is gone.
    """
    path = home / "serving" / f"{dataset}.json"
    try:
        with path.open("rb") as file:
            mark = os.fstat(file.fileno())
            pointer = _Pointer.model_validate_json(file.read())
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
    return Source(
        f"{CHAMPION}{dataset}", "champion", pointer.release, folder, dataset=dataset, bento=pointer.bento,
        mark=f"{mark.st_ino}-{mark.st_mtime_ns}",
    )  # fmt: skip


def _alias_source(uri: str, settings: SourceSettings) -> Source:
    """Return the release of the model version that an alias names."""
    name, _, alias = uri.removeprefix(REGISTRY).partition("@")
    dataset = name.removeprefix(MODEL_PREFIX)
    if not re.fullmatch(rf"{MODEL_PREFIX}[a-z][a-z0-9_]*", name) or not re.fullmatch(r"[\w.-]+", alias):
        raise UserError(f"HEDONIC_RELEASE_URI: {uri!r} is not models:/hedonic-<data set>@<alias>. {_FORMS}")
    version = read_alias(RegistryAlias(name, alias), settings)
    store = settings.store_url or (str(settings.home / "releases") if settings.home else None)
    if store is None:
        raise UserError(
            f"{uri}: names release {version.release}, and there is no store to take it from. "
            "Set HEDONIC_STORE_URL (a path or s3://bucket/prefix), or HEDONIC_HOME."
        )
    place = f"{store.rstrip('/')}/{dataset}/{version.release}"
    found = resolve(place, settings.model_copy(update={"release": version.release}))
    return replace(found, uri=uri, kind="registry", dataset=dataset, mark=f"version {version.number}")


def _digest(where: str, settings: SourceSettings) -> str:
    """Return the digest that a folder's release must have: HEDONIC_RELEASE, or the folder's name."""
    name = where.rstrip("/").rpartition("/")[2]
    release = settings.release or name
    if not re.fullmatch(r"[0-9a-f]{64}", release):
        raise UserError(
            f"{where}: its last part is not a release digest (64 hex digits), so nothing says which release "
            "it must be. Set HEDONIC_RELEASE to the digest."
        )
    return release
