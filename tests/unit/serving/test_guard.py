"""What the guard refuses, before any work is done."""

import asyncio

import pytest

from hedonic.errors import UserError
from hedonic.serving.guard import Guard
from hedonic.serving.guard_settings import GuardSettings, read_guard_settings, refuse_open_door
from hedonic.serving.pace import Pace
from hedonic.serving.rate import RateLimiter
from hedonic.serving.slots import Slots
from tests.asgi import Caller, ask, echo, scope_of
from tests.unit.leaping_loop import run_by_leaps

JSON = {"content-type": "application/json"}


def guard(app=echo, **settings):
    return Guard(
        app, GuardSettings(**{"max_body_bytes": 2048, "linger_s": 0.05, "refusals_per_s": 1e6, **settings})
    )


def asked(app, *parts, **scope):
    return asyncio.run(ask(app, *parts, **{"headers": JSON, **scope}))


def held():
    """Return an application that answers when it is told to, and what it counts meanwhile."""

    class Held:
        def __init__(self):
            self.go = asyncio.Event()
            self.n_inside = self.n_most = 0

        async def __call__(self, scope, receive, send):
            self.n_inside += 1
            self.n_most = max(self.n_most, self.n_inside)
            await self.go.wait()
            self.n_inside -= 1
            await echo(scope, receive, send)

    return Held()


# Bodies


def test_a_small_request_passes_whole():
    assert asked(guard(), b'{"a":1}').body == b'{"a":1}'


def test_a_body_in_parts_passes_whole():
    assert asked(guard(), b"a", b"b" * 1000, b"", b"c").body == b"a" + b"b" * 1000 + b"c"


def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not():
    assert asked(guard(), b"x" * 2048).status == 200
    assert asked(guard(), b"x" * 2000, b"x" * 48).status == 200
    for parts in ([b"x" * 2049], [b"x" * 2000, b"x" * 49]):
        answer = asked(guard(), *parts)
        assert (answer.status, answer.error) == (413, "payload_too_large")
        assert answer.headers["connection"] == "close"


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_is_taken():
    caller = Caller([b"x" * 1000] * 100)
    sent = []

    async def receive():
        assert sent, "the answer comes first"
        return await caller.receive()

    async def send(message):
        sent.append(message)

    scope = scope_of(headers={**JSON, "content-length": "100000"})
    asyncio.run(guard(linger_bytes=4000)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert caller.n_bytes == 4000  # what is thrown away is bounded too


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30])
def test_a_length_that_is_none_is_refused(length):
    assert asked(guard(), b"x", headers={**JSON, "content-length": length}).status == 413


def test_a_huge_body_in_parts_is_not_kept():
    import tracemalloc

    part = b"x" * 65536
    caller = Caller([part] * 16384)  # 1 GB
    tracemalloc.start()
    answer = asyncio.run(ask(guard(max_body_bytes=1024 * 1024), caller=caller, headers=JSON))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status == 413
    assert peak < 5e6
    assert caller.n_bytes < 12e6


def test_a_body_that_does_not_come_in_time_is_408_and_the_connection_ends():
    async def run():
        never = asyncio.Event()
        return await ask(guard(body_deadline_s=0.02), b"half", never.wait, b"x", headers=JSON)

    answer = asyncio.run(run())
    assert (answer.status, answer.error, answer.headers["connection"]) == (408, "request_timeout", "close")


def test_the_deadline_holds_for_the_whole_body_not_for_each_part():
    async def run():
        drops = [b"x", lambda: asyncio.sleep(0.01)] * 100
        return await ask(guard(body_deadline_s=0.05), *drops, b"x", headers=JSON)

    assert asyncio.run(run()).status == 408


def test_a_caller_that_hangs_up_is_not_answered_and_nothing_is_called():
    async def app(scope, receive, send):
        pytest.fail("called")

    assert asked(guard(app), b"half", None) is None
    assert asked(guard(app), None) is None


def test_bodies_that_arrive_together_share_a_bounded_memory():
    async def run():
        wait, shut = asyncio.Event(), guard(max_body_bytes=1024 * 1024, max_buffered_bytes=1024 * 1024)
        first = asyncio.create_task(ask(shut, b"x" * 900_000, wait.wait, b"x", headers=JSON))
        await asyncio.sleep(0)
        second = await ask(shut, b"x" * 200_000, b"x", headers=JSON)
        small = await ask(shut, b"{}", headers=JSON)
        wait.set()
        return await first, second, small, shut._bodies.buffered_bytes

    first, second, small, left = asyncio.run(run())
    assert (first.status, second.status, small.status, left) == (200, 503, 200, 0)
    assert second.headers["retry-after"] == "1"


def test_slow_bodies_take_no_slot():
    async def run():
        wait, shut = asyncio.Event(), guard(concurrency=1, queue=0)
        slow = [asyncio.create_task(ask(shut, b"x", wait.wait, b"y", headers=JSON)) for _ in range(50)]
        await asyncio.sleep(0.01)
        quick = [await ask(shut, b"{}", headers=JSON) for _ in range(20)]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return quick, shut._slots.n_inside

    quick, inside = asyncio.run(run())
    assert {answer.status for answer in quick} == {200}
    assert inside == 0


def test_a_get_needs_no_body_and_no_type():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert asked(guard(app), method="GET", path="/model/info", headers={}).status == 200


# Media types


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_passes(kind):
    assert asked(guard(), b"{}", headers={"content-type": kind}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "text/csv"},
        {"content-type": "application/vnd.bentoml+pickle"},
        {"content-type": "application/octet-stream"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"origin": "https://evil.example"},  # a page's request without a type, which it may send unasked
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/feedback", "/nowhere"])
def test_all_else_is_415_before_it_is_read(headers, path):
    caller = Caller([b"{}"])
    answer = asyncio.run(ask(guard(), caller=caller, path=path, headers=headers))
    assert (answer.status, answer.error, caller.n_taken) == (415, "unsupported_media_type", 0)


def test_invocations_take_csv_and_larger_bodies():
    table = b"1,2,3\n" * 1000
    shut = guard(max_table_bytes=6000)
    csv = {"content-type": "text/csv"}
    assert asked(shut, table, path="/invocations", headers=csv).status == 200
    assert asked(shut, b"{}", path="/invocations").status == 200
    assert asked(shut, table + b"x", path="/invocations", headers=csv).status == 413
    pickled = {"content-type": "application/vnd.bentoml+pickle"}
    assert asked(shut, b"x", path="/invocations", headers=pickled).status == 415


def test_a_request_without_a_type_is_taken_for_json():
    assert asked(guard(), b"{}", headers={}).status == 200


# Tokens


def with_token(token):
    return {**JSON, "authorization": f"Bearer {token}"}


def test_while_a_token_is_replaced_the_old_and_the_new_one_pass():
    shut = guard(tokens="new-token, old-token")
    for token in ("new-token", "old-token"):
        assert asked(shut, b"{}", headers=with_token(token)).status == 200
    assert asked(guard(tokens="new-token"), b"{}", headers=with_token("old-token")).status == 401


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="hedonic"'),
        ("Basic bmV3LXRva2Vu", 'Bearer realm="hedonic"'),
        ("Bearer", 'Bearer realm="hedonic"'),
        ("Bearer new-toke", 'Bearer realm="hedonic", error="invalid_token"'),
        ("Bearer new-token2", 'Bearer realm="hedonic", error="invalid_token"'),
    ],
)
def test_without_a_good_token_it_is_401_with_a_challenge(authorization, challenge):
    headers = {**JSON, "authorization": authorization} if authorization else JSON
    answer = asked(guard(tokens="new-token"), b"{}", headers=headers)
    assert (answer.status, answer.error) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == challenge
    assert b"new-token" not in answer.body


def test_the_scheme_is_read_without_regard_to_case():
    headers = {**JSON, "authorization": "bearer new-token"}
    assert asked(guard(tokens="new-token"), b"{}", headers=headers).status == 200


def test_the_token_guards_every_path_but_those_that_are_open():
    shut = guard(tokens="t0ken")
    for path in ("/model/info", "/docs.json", "/", "/metrics"):
        assert asked(shut, method="GET", path=path, headers={}).status == 401
    for path in ("/livez", "/readyz", "/healthz", "/health", "/ping"):
        assert asked(shut, method="GET", path=path, headers={}).status == 200
    assert (
        asked(guard(tokens="t", metrics_open=True), method="GET", path="/metrics", headers={}).status == 200
    )
    assert asked(guard(tokens="t", probes_open=False), method="GET", path="/health", headers={}).status == 401


def test_a_websocket_is_closed_for_there_is_none():
    sent = []

    async def run():
        async def send(message):
            sent.append(message)

        await guard(tokens="t")({"type": "websocket", "path": "/"}, None, send)

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


# Rate


def test_a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_affected():
    shut = guard(rate_per_s=0.1, rate_burst=3)
    answers = [asked(shut, b"{}") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].error == "rate_limited"
    assert 9 <= int(answers[-1].headers["retry-after"]) <= 10
    assert asked(shut, b"{}", client="203.0.113.8").status == 200
    assert asked(shut, method="GET", path="/livez", headers={}).status == 200


def test_with_tokens_the_rate_is_the_tokens_and_guessing_has_one_too():
    shut = guard(rate_per_s=0.1, rate_burst=2, tokens="one,two")
    by_token = [asked(shut, b"{}", headers=with_token("one"), client=f"203.0.113.{n}") for n in range(3)]
    assert [answer.status for answer in by_token] == [200, 200, 429]
    assert asked(shut, b"{}", headers=with_token("two")).status == 200
    guesses = [asked(shut, b"{}", headers=with_token(f"guess-{n}")) for n in range(3)]
    assert [answer.status for answer in guesses] == [401, 401, 429]


def test_a_bucket_fills_with_time_to_its_depth_and_no_further():
    now = [0.0]
    rate = RateLimiter(2.0, 3, 10, clock=lambda: now[0])
    assert [rate.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now[0] = 0.25
    assert rate.wait_s("a") == 0.25
    now[0] = 0.5
    assert rate.wait_s("a") == 0
    now[0] = 100.0
    assert [rate.wait_s("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_a_bounded_number_of_clients_is_remembered():
    rate = RateLimiter(1.0, 1, 100, clock=lambda: 0.0)
    for n in range(10_000):
        rate.wait_s(n)
    assert len(rate) == 100
    assert rate.wait_s(9_999) > 0
    assert rate.wait_s(0) == 0


# Slots and the queue


def test_so_many_are_worked_on_so_many_wait_and_one_more_is_503():
    async def run():
        app = held()
        shut = guard(app, concurrency=2, queue=3, retry_after_s=7)
        tasks = [asyncio.create_task(ask(shut, b"{}", headers=JSON)) for _ in range(9)]
        await asyncio.sleep(0.01)
        early = [task.result() for task in tasks if task.done()]
        app.go.set()
        answers = await asyncio.gather(*tasks)
        again = await ask(shut, b"{}", headers=JSON)
        return app, early, answers, again, shut._slots

    app, early, answers, again, slots = asyncio.run(run())
    assert [answer.status for answer in early] == [503] * 4
    assert [answer.status for answer in answers] == [200] * 5 + [503] * 4
    assert {answer.headers["retry-after"] for answer in early} == {"7"}
    assert {answer.error for answer in early} == {"overloaded"}
    assert app.n_most == 2
    assert again.status == 200
    assert (slots.n_inside, slots._free, len(slots._waiting)) == (0, 2, 0)


def test_requests_that_come_together_are_counted_before_the_first_is_answered():
    """What answers holds the loop while it computes; the queue is bounded all the same."""

    async def run():
        shut = guard(echo, concurrency=1, queue=4)
        return await asyncio.gather(*(ask(shut, b"{}", headers=JSON) for _ in range(20)))

    statuses = [answer.status for answer in asyncio.run(run())]
    assert statuses == [200] * 5 + [503] * 15


def test_those_who_wait_are_answered_in_their_order():
    async def run():
        order = []

        async def app(scope, receive, send):
            order.append(scope["path"])
            await asyncio.sleep(0)
            await echo(scope, receive, send)

        shut = guard(app, concurrency=1)
        await asyncio.gather(*(ask(shut, b"", path=f"/{n}", headers=JSON) for n in range(10)))
        return order

    assert asyncio.run(run()) == [f"/{n}" for n in range(10)]


def test_a_turn_that_does_not_come_in_time_is_503_and_the_slot_is_not_lost():
    async def run():
        app = held()
        shut = guard(app, concurrency=1, queue=5, queue_wait_s=0.02)
        first = asyncio.create_task(ask(shut, b"{}", headers=JSON))
        late = await asyncio.gather(*(ask(shut, b"{}", headers=JSON) for _ in range(3)))
        app.go.set()
        return await first, late, await ask(shut, b"{}", headers=JSON), shut._slots

    first, late, after, slots = run_by_leaps(run())
    assert [first.status, after.status] == [200, 200]
    assert [(answer.status, answer.error) for answer in late] == [(503, "overloaded")] * 3
    assert (slots.n_inside, slots._free) == (0, 1)


def test_a_caller_that_is_cancelled_while_it_waits_or_works_gives_its_slot_back():
    async def run():
        app = held()
        shut = guard(app, concurrency=1, queue=5)
        tasks = [asyncio.create_task(ask(shut, b"{}", headers=JSON)) for _ in range(4)]
        await asyncio.sleep(0.01)
        for task in tasks[:3]:
            task.cancel()
        await asyncio.gather(*tasks[:3], return_exceptions=True)
        app.go.set()
        return await tasks[3], shut._slots

    last, slots = asyncio.run(run())
    assert last.status == 200
    assert (slots.n_inside, slots._free, len(slots._waiting)) == (0, 1, 0)


def test_a_slot_handed_to_one_who_leaves_at_that_moment_goes_on_to_the_next():
    async def run():
        slots = Slots(1, 5, 10.0, 1)
        await slots.enter()
        leaving, next_one = asyncio.create_task(slots.enter()), asyncio.create_task(slots.enter())
        await asyncio.sleep(0.001)
        slots.leave()
        leaving.cancel()
        await asyncio.wait_for(next_one, 1)
        slots.leave()
        return slots

    slots = asyncio.run(run())
    assert (slots.n_inside, slots._free) == (0, 1)


def test_an_application_that_fails_gives_its_slot_back():
    async def app(scope, receive, send):
        raise ValueError("broken")

    shut = guard(app, concurrency=1, queue=0)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            asked(shut, b"{}")


def test_refusals_are_given_at_a_pace_and_do_not_hold_up_those_who_are_served():
    async def run():
        app = held()
        shut = guard(app, concurrency=1, queue=0, refusals_per_s=0.2)
        first = asyncio.create_task(ask(shut, b"{}", headers=JSON))
        await asyncio.sleep(0)
        at_once = await ask(shut, b"{}", headers=JSON)
        storm = [asyncio.create_task(ask(shut, b"{}", headers=JSON)) for _ in range(20)]
        await asyncio.sleep(0.01)
        answered = [task for task in storm if task.done()]
        app.go.set()
        served = [await first, await ask(shut, b"{}", headers=JSON)]
        for task in storm:
            task.cancel()
        return at_once, answered, served

    at_once, answered, served = asyncio.run(run())
    assert at_once.status == 503
    assert answered == []
    assert [answer.status for answer in served] == [200, 200]


@pytest.mark.parametrize(
    ("per_s", "most_s", "waits_s"),
    [(100.0, 10.0, [n / 100 for n in range(10)]), (0.1, 0.03, [0.0] + [0.03] * 9)],
)
def test_the_pace_is_even_and_nobody_waits_longer_than_the_limit(per_s, most_s, waits_s):
    async def run():
        loop, pace = asyncio.get_running_loop(), Pace(per_s, most_s)

        async def one():
            await pace.wait()
            return loop.time()

        return await asyncio.gather(*(one() for _ in range(10)))

    assert run_by_leaps(run()) == pytest.approx(waits_s)


# Pages of other origins


def preflight(origin):
    return {"origin": origin, "access-control-request-method": "POST"}


def test_a_page_of_an_allowed_origin_is_told_that_it_may_ask():
    shut = guard(cors_origins="https://prices.example.com,http://localhost:7860", tokens="t0ken")
    answer = asked(shut, method="OPTIONS", headers=preflight("http://localhost:7860"))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_page_of_another_origin_may_not():
    shut = guard(cors_origins="https://prices.example.com")
    for origin in ("https://evil.example", "https://prices.example.com.evil.example", "null"):
        answer = asked(shut, method="OPTIONS", headers=preflight(origin))
        assert (answer.status, answer.error) == (403, "origin_not_allowed")
        assert not [name for name in answer.headers if name.startswith("access-control")]


# Settings


def test_settings_come_from_the_environment():
    settings = read_guard_settings(
        {
            "HEDONIC_GUARD__MAX_BODY_BYTES": "4096", "HEDONIC_GUARD__RATE_PER_S": "2.5",
            "HEDONIC_GUARD__CORS_ORIGINS": "https://a.example, https://b.example",
            "HEDONIC_API_TOKEN": "new,old", "HEDONIC_HOME": "/x", "PATH": "/bin",
        }
    )  # fmt: skip
    assert (settings.max_body_bytes, settings.rate_per_s) == (4096, 2.5)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert [token.get_secret_value() for token in settings.tokens] == ["new", "old"]
    assert "new" not in repr(settings)
    assert read_guard_settings({}) == GuardSettings()
    assert read_guard_settings({"HEDONIC_API_TOKEN": ""}).tokens == ()


def test_every_mistake_in_the_settings_is_told_at_once_and_no_token_is():
    with pytest.raises(UserError) as caught:
        read_guard_settings(
            {
                "HEDONIC_GUARD__QUEUE": "-1", "HEDONIC_GUARD__MAX_BODY": "5",
                "HEDONIC_API_TOKEN": "good,b ad", "HEDONIC_GUARD__CORS_ORIGINS": "prices.example.com",
            }
        )  # fmt: skip
    told = str(caught.value)
    for part in (
        "HEDONIC_GUARD__QUEUE: Input should be greater",
        "HEDONIC_GUARD__MAX_BODY: Extra inputs",
        "HEDONIC_API_TOKEN: Value error, a token is empty",
        "'prices.example.com' is not an origin",
        "There are: HEDONIC_GUARD__MAX_BODY_BYTES,",
    ):
        assert part in told
    assert "b ad" not in told


def test_beyond_loopback_a_token_is_asked_for():
    refuse_open_door(GuardSettings(), ["127.0.0.1", "::1", "localhost"])
    refuse_open_door(GuardSettings(tokens="t"), ["0.0.0.0"])
    refuse_open_door(GuardSettings(allow_anonymous=True), ["0.0.0.0"])
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com", ""):
        with pytest.raises(UserError, match=r"beyond loopback without a token.*Set HEDONIC_API_TOKEN"):
            refuse_open_door(GuardSettings(), ["127.0.0.1", host])
