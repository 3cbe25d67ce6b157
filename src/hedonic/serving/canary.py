"""A canary, or an A/B test: the challenger answers a share of the request keys."""

from __future__ import annotations

from collections.abc import Callable

from hedonic.serving.asgi import Exchange
from hedonic.serving.challenge import Reply
from hedonic.serving.observed_predictor import unobserved
from hedonic.serving.predictor import Release
from hedonic.serving.responses import predict_response
from hedonic.serving.traffic_draw import Draw, request_key
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_watch import Watch, disagreement


class Canary:
    """Answers drawn requests by the challenger, all others by the champion.

    As a canary the champion answers drawn requests too, and the two are compared: a drawn request costs
    both predictions, and the reading of both answers. As an A/B test only the challenger answers them.
    Where the challenger fails, or refuses what the champion accepts, the champion's answer is given: no
    request fails by a canary. Each judges a request by its own contract.
    """

    def __init__(self, plan: TrafficPlan, release: Release, on_stop: Callable[[str], None]) -> None:
        """Try ``release`` as the plan says; ``on_stop`` is told why it must not any more."""
        self.plan = plan
        self.watch = Watch(plan.limits, by_disagreement=plan.mode == "canary")
        self.n_champion = self.n_challenger = self.n_dropped = 0
        self._release = release
        self._compares = plan.mode == "canary"
        self._draw = Draw(plan.release, plan.share)
        self._on_stop = on_stop
        self._plain: tuple[Release, Release] | None = None

    def answer(self, champion: Release, exchange: Exchange, media_type: str, body: bytes) -> Reply | None:
        """Return the answer to a drawn request, the stop decided before the next is drawn; None to others."""
        challenger, request_id = self._release, exchange.request_id
        if self.explainer(champion, exchange, body) is champion:
            return None
        status, content = predict_response(challenger, media_type, body, request_id)
        if status != 200:
            return self._instead(champion, status, exchange, media_type, body)
        self.n_challenger += 1
        aside, apart = None, None
        if self._compares:
            plain = self._unobserved(champion)
            own_status, own = predict_response(plain, media_type, body, request_id)
            if own_status == 200:
                aside, apart = (champion, own), disagreement(own, content)
        self.watch.answered(apart)
        self._judge()
        return Reply(challenger, status, content, aside)

    def show(self, champion: Release, exchange: Exchange, media_type: str, body: bytes, reply: Reply) -> None:
        """Count a request that the champion answered."""
        self.n_champion += 1

    def explainer(self, champion: Release, exchange: Exchange, body: bytes) -> Release:
        """Return the challenger where the request's key draws it and it is not the champion by now."""
        drawn = self._draw.takes(request_key(exchange, body))
        return self._release if drawn and champion.model.release != self.plan.release else champion

    def close(self) -> None:
        """Let go of the champion: it may be another by now."""
        self._plain = None

    def _instead(
        self, champion: Release, status: int, exchange: Exchange, media_type: str, body: bytes
    ) -> Reply:
        """Return the champion's answer; unless the request is at fault, the challenger is."""
        reply = Reply(champion, *predict_response(champion, media_type, body, exchange.request_id))
        self.n_champion += 1
        if reply.status == 200 or status >= 500:
            self.watch.erred()
            self._judge()
        return reply

    def _judge(self) -> None:
        if reason := self.watch.reason():
            self._on_stop(reason)

    def _unobserved(self, champion: Release) -> Release:
        """Return the champion whose answers are not counted as given."""
        if self._plain is None or self._plain[0] is not champion:
            self._plain = champion, unobserved(champion)
        return self._plain[1]
