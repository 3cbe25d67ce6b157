"""A challenge: a challenger in the traffic beside the champion, and what became of a request."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from hedonic.serving.asgi import Exchange
from hedonic.serving.predictor import Release
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_watch import Watch


class Reply(NamedTuple):
    """What a caller gets, and from which release.

    Attributes:
        aside: a good answer of the other release, which nobody gets; it is logged.
    """

    release: Release
    status: int
    content: bytes
    aside: tuple[Release, bytes] | None = None


class Challenge(Protocol):
    """A challenger in the traffic: as a shadow, or with a share of the requests."""

    plan: TrafficPlan
    watch: Watch
    n_champion: int
    n_challenger: int
    n_dropped: int

    def answer(self, champion: Release, exchange: Exchange, media_type: str, body: bytes) -> Reply | None:
        """Return the answer to a prediction request that is the challenger's; None: the champion answers."""

    def show(self, champion: Release, exchange: Exchange, media_type: str, body: bytes, reply: Reply) -> None:
        """Take note of a request that the champion answered."""

    def explainer(self, champion: Release, exchange: Exchange, body: bytes) -> Release:
        """Return the release whose answers a caller with this key gets."""

    def close(self) -> None:
        """Give no more answers."""
