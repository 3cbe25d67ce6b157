"""The build by hand: the bento of a release that the history names as promoted, and of no other."""

from __future__ import annotations

from contextlib import closing

from hedonic.custody.known_release import known_releases
from hedonic.errors import UserError
from hedonic.promotion.bento import Bento, build_bento
from hedonic.promotion.history import is_begun, open_history
from hedonic.promotion.record import Record
from hedonic.settings import Settings


def build_by_hand(settings: Settings, dataset: str, release: str | None = None) -> Bento:
    """Return the bento of a release, built unless it is there and intact.

    Args:
        settings: name the places.
        dataset: that it is of.
        release: its digest; by default the champion.

    Raises:
        UserError: there is no champion, so there is nothing to build.
        ReleaseRefused: the history never promoted it, it was collected, or it is not what its manifest says.
    """
    records: tuple[Record, ...] = ()
    if is_begun(settings):
        with closing(open_history(settings)) as history:
            records = history.records(dataset)
            champion = history.champion(dataset)
            release = release or (champion.release if champion else None)
    if release is None:
        raise UserError(f"{dataset}: no champion yet, so there is nothing to build. `hedonic run {dataset}`.")
    known = known_releases(records).get(release)
    return build_bento(
        settings.root,
        settings.releases / dataset / release,
        settings.bentos,
        promoted=known is not None and known.crowned is not None,
    )
