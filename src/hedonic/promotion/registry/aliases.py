"""The aliases, and the tag of the history's head, of a registered model: a projection of the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from hedonic.errors import HedonicError
from hedonic.promotion.registry.model_version import TAG_RELEASE, TAG_STATUS, versions
from hedonic.promotion.registry.store import has_store, model_name, open_client, store_file
from hedonic.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
TAG_HEAD = "hedonic.history.head"


@dataclass(frozen=True, slots=True)
class RegistryView:
    """What the store says of a data set, for comparing it with the history.

    Attributes:
        champion: the version that has the alias; None where none has.
        wanted: the version that should have it, by the release asked for; None where none is linked to it.
        head: the tag with the history's head; None before it was first written.
    """

    champion: int | None
    wanted: int | None
    head: str | None


def view(settings: Settings, dataset: str, release_digest: str | None) -> RegistryView | None:
    """Return what the store says of a data set whose champion is that release; None of an unknown one.

    Raises:
        HedonicError: the store cannot be read.
    """
    if not has_store(settings):
        return None
    from mlflow.exceptions import MlflowException

    try:
        client, name = open_client(settings), model_name(dataset)
        found = client.search_registered_models(f"name = '{name}'")
        if not found:
            return None
        alias = client.get_registered_model(name).aliases.get(CHAMPION)
        return RegistryView(
            champion=int(alias) if alias is not None else None,
            wanted=_linked(client, name, release_digest),
            head=found[0].tags.get(TAG_HEAD),
        )
    except (MlflowException, SQLAlchemyError) as err:
        raise HedonicError(
            f"{store_file(settings)}: MLflow cannot read its store: {err}. Restore it, or move it away: it "
            "is made anew."
        ) from err


def project_head(settings: Settings, dataset: str, head: str) -> None:
    """Write the history's head as a tag of the registered model, if there is one."""
    client, name = open_client(settings), model_name(dataset)
    if client.search_registered_models(f"name = '{name}'"):
        client.set_registered_model_tag(name, TAG_HEAD, head)


def project_champion(
    settings: Settings, dataset: str, release_digest: str | None, rejected: Collection[str] = ()
) -> int | None:
    """Return the version that is ``champion`` now that the aliases follow the history.

    Called after a promotion and, as a repair, at every start: what holds already is left alone.
    ``challenger`` is the newest promoted-to-challenger version after the champion, if there is one.

    Args:
        settings: name the store.
        dataset: the data set.
        release_digest: of the history's champion; None when there is none.
        rejected: releases that were refused since they were registered: no challengers.

    Returns:
        The champion's version; None without a champion, or when no version of this store is
        linked to its release (a store that was lost): then there is no alias ``champion`` either.
    """
    from mlflow.exceptions import MlflowException

    client, name = open_client(settings), model_name(dataset)
    if not client.search_registered_models(f"name = '{name}'"):
        return None
    champion = _linked(client, name, release_digest)
    passed = [
        int(v.version)
        for v in versions(client, name, TAG_STATUS, CHALLENGER)
        if v.tags.get(TAG_RELEASE) not in rejected
    ]
    challenger = max((v for v in passed if v > (champion or 0)), default=None)
    wanted = {CHAMPION: champion, CHALLENGER: challenger}
    try:
        _set_aliases(client, name, wanted)
    except MlflowException:
        # Another process writes the same projection of the same history: look, and write once more.
        _set_aliases(client, name, wanted)
    return champion


def _linked(client: MlflowClient, name: str, release_digest: str | None) -> int | None:
    """Return the newest version that is linked to a release."""
    linked = versions(client, name, TAG_RELEASE, release_digest) if release_digest else []
    return max((int(v.version) for v in linked), default=None)


def _set_aliases(client: MlflowClient, name: str, wanted: Mapping[str, int | None]) -> None:
    there = {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()}
    for alias, version in wanted.items():
        if there.get(alias) == version:
            continue
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(version))
