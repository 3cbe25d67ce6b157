"""A request's id is of one form, nobody else's, and later than those before it."""

from __future__ import annotations

import re
import time

from hedonic.serving.asgi import Exchange, new_request_id


def test_ids_are_32_hexadecimal_digits_and_each_is_another():
    ids = [new_request_id() for _ in range(100_000)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == len(ids)
    assert Exchange().request_id != Exchange().request_id


def test_a_later_id_sorts_after_an_earlier_one_and_says_when_it_was_made():
    earlier = new_request_id()
    made_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= made_ms:
        pass
    later = new_request_id()
    assert earlier < later
    assert abs(int(earlier[:12], 16) - made_ms) < 1000


def test_ids_of_one_millisecond_cannot_be_guessed_from_each_other():
    tails = {new_request_id()[12:] for _ in range(10_000)}
    assert len(tails) == 10_000
    for place in range(20):
        assert len({tail[place] for tail in tails}) == 16
