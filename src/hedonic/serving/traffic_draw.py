"""The draw: whether a request key is the challenger's, the same key always the same way."""

from __future__ import annotations

from hashlib import blake2b

from hedonic.serving.asgi import Exchange
from hedonic.serving.traffic_plan import CHAMPION_KEY, KEY_HEADER

_HEADER, _CHAMPION = KEY_HEADER.lower().encode(), CHAMPION_KEY.encode()
_SPACE = 2**64


class Draw:
    """Gives a share of all request keys to a challenger.

    The key is hashed with the challenger's digest: a key keeps its arm for as long as that challenger is
    tried, in every process and after every restart, and a new challenger draws anew. A greater share
    keeps the keys that a smaller one had.
    """

    def __init__(self, release: str, share: float) -> None:
        """Take the digest of the challenger, and its share of the keys."""
        self._begun = blake2b(key=bytes.fromhex(release), digest_size=8)
        self._below = share * _SPACE

    def takes(self, key: bytes) -> bool:
        """Return whether the key is the challenger's."""
        if key == _CHAMPION:
            return False
        state = self._begun.copy()
        state.update(key)
        return int.from_bytes(state.digest()) < self._below


def request_key(exchange: Exchange, body: bytes) -> bytes:
    """Return what an arm is kept for: the header ``X-Request-Key`` where it is given, else the rows."""
    return exchange.headers.get(_HEADER) or body
