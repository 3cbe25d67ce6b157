"""Bearer tokens: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from hedonic.serving.refusal import Refusal

_CHALLENGE = b'Bearer realm="hedonic"'


class Tokens:
    """The tokens that may ask; several while one replaces another."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """Keep the tokens' digests alone."""
        self._digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)

    def __bool__(self) -> bool:
        """Return whether a token is asked for."""
        return bool(self._digests)

    def client(self, headers: dict[bytes, bytes]) -> int:
        """Return which token the request carries, as its place in the list.

        Every token is compared, in constant time, so that the time tells nothing.

        Raises:
            Refusal: 401, there is none or it is not one of ours.
        """
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not given:
            message = "this endpoint asks for a token: send the header Authorization: Bearer <token>"
            raise Refusal(401, "unauthorized", message, ((b"www-authenticate", _CHALLENGE),))
        digest = hashlib.sha256(given.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            challenge = _CHALLENGE + b', error="invalid_token"'
            message = "the token is not one that this endpoint knows"
            raise Refusal(401, "unauthorized", message, ((b"www-authenticate", challenge),))
        return matches.index(True)
