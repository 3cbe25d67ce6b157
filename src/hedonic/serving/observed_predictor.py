"""A predictor that is watched: each answer is shown to an observer, and given unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hedonic.serving.predictor import Prediction, Predictor, Release

Observer = Callable[[Release, Sequence[Prediction]], None]


class ObservedPredictor(Predictor):
    """Shows every answer over HTTP to an observer; golden rows, which nobody asked for, are not shown."""

    def __init__(self, predictor: Predictor, observe: Callable[[Sequence[Prediction]], None]) -> None:
        """Answer as ``predictor`` does."""
        vars(self).update(vars(predictor))
        self.plain = predictor
        self._observe = observe

    def answer(self, body: bytes) -> list[Prediction]:
        """Return a prediction for each instance of a request's body, and show them."""
        predictions = super().answer(body)
        self._observe(predictions)
        return predictions

    async def answer_jointly(self, body: bytes) -> list[Prediction]:
        """Return the same, computed together with what else arrives, and show them."""
        predictions = await super().answer_jointly(body)
        self._observe(predictions)
        return predictions


def observed(release: Release, observer: Observer) -> Release:
    """Return the release, its answers shown to ``observer``."""
    predictor = ObservedPredictor(release.predictor, lambda predictions: observer(release, predictions))
    return replace(release, predictor=predictor)


def unobserved(release: Release) -> Release:
    """Return the release, its answers shown to nobody: what it answers is not given to a caller."""
    if not isinstance(release.predictor, ObservedPredictor):
        return release
    return replace(release, predictor=release.predictor.plain)
