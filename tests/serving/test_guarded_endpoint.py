"""The guard, the short-cut, the metrics and the log of a real endpoint."""

import contextlib
import http.client
import json
import re
import signal
import threading

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.endpoints import opened, read_all, refused_to_start, start_endpoint
from tests.tiny_release import ROW, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"instances": [ROW]}).encode()
TOKEN = {"Authorization": "Bearer new-token"}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that starts an endpoint with settings of the guard, until the module ends."""
    with contextlib.ExitStack() as stack:

        def start(**settings):
            home = tmp_path_factory.mktemp("hedonic_home")
            return start_endpoint(stack, home, tiny_release(home / "releases"), **settings)

        yield start


@pytest.fixture(scope="module")
def endpoint(start):
    return start(HEDONIC_GUARD__BODY_DEADLINE_S="1.5", HEDONIC_GUARD__ACCESS_LOG="true")


@pytest.fixture(scope="module")
def closed(start):
    """Return an endpoint that asks for a token, has a rate and allows one origin."""
    return start(
        HEDONIC_API_TOKEN="new-token,old-token",
        HEDONIC_GUARD__RATE_PER_S="0.01",
        HEDONIC_GUARD__RATE_BURST="8",
        HEDONIC_GUARD__CORS_ORIGINS="https://prices.example.com",
    )


def error(answer, status, code):
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "request_id"}
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert answer.json["error"]["code"] == code


def figures(served):
    text = served.ask("GET", "/metrics").body.decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# Bodies


def test_a_body_that_stops_half_way_is_408_and_the_connection_ends(endpoint):
    served, _ = endpoint
    with opened(served.port, f"Content-Length: {len(BODY)}") as connection:
        connection.sendall(BODY[:10])
        got = read_all(connection)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in got


@pytest.mark.parametrize(
    "kind", ["application/vnd.bentoml+pickle", "application/octet-stream", "text/csv", "text/plain"]
)
@pytest.mark.parametrize("path", ["/predict", "/api/v1/predict", "/explain", "/nowhere"])
def test_no_pickle_and_no_other_type_is_taken(endpoint, path, kind):
    error(endpoint[0].post(b"x", path, kind), 415, "unsupported_media_type")


# The short-cut


@pytest.mark.parametrize("path", ["/predict", "/api/predict", "/api/v1/predict"])
@pytest.mark.parametrize(
    "content",
    [
        {"instances": [ROW]},
        {"instances": [ROW, {**ROW, "area": 9000, "quarter": "old town"}]},
        {"instances": [{**ROW, "bedrooms": "3", "colour": 1}]},
        {"instances": []},
        [],
    ],
)
def test_the_short_cut_answers_the_bytes_and_headers_of_the_declared_route(endpoint, path, content):
    served, _ = endpoint
    quick, declared = (served.post(content, place) for place in (path, f"{path}?declared"))

    def without_id(answer):
        body = answer.body.replace(answer.headers["x-request-id"].encode(), b"")
        headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
        return answer.status, headers, body

    assert without_id(quick) == without_id(declared)


def test_a_body_in_chunks_is_answered_like_one_with_a_length(endpoint):
    served, _ = endpoint
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("POST", "/predict", iter([BODY[:20], BODY[20:]]), JSON, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["predictions"] == served.predict(ROW).json["predictions"]


# Tokens, rate, pages


def test_without_a_token_there_is_401_and_while_it_is_replaced_the_old_and_the_new_one_answer(closed):
    served, _ = closed
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = served.ask("POST", "/predict", BODY, JSON | headers)
        error(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="hedonic"')
    for token in ("new-token", "old-token"):
        answer = served.ask("POST", "/predict", BODY, JSON | {"Authorization": f"Bearer {token}"})
        assert answer.status == 200
    for path in ("/livez", "/readyz", "/healthz", "/health"):
        assert served.ask("GET", path).status == 200
    for path in ("/metrics", "/docs.json"):
        error(served.ask("GET", path), 401, "unauthorized")
    assert "new-token" not in served.log.read_text()


def test_a_client_that_asks_too_often_gets_429_and_the_others_an_answer(closed):
    served, _ = closed
    answers = [served.ask("POST", "/predict", BODY, JSON | TOKEN) for _ in range(10)]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    for answer in refused:
        error(answer, 429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 100
    other = served.ask("POST", "/predict", BODY, JSON | {"Authorization": "Bearer old-token"})
    assert other.status == 200
    assert served.ask("GET", "/readyz").status == 200


def test_pages_of_the_allowed_origin_may_ask_and_others_may_not(closed):
    served, _ = closed
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    mine = served.ask("OPTIONS", "/predict", None, question | {"Origin": "https://prices.example.com"})
    assert mine.status == 204
    assert mine.headers["access-control-allow-origin"] == "https://prices.example.com"
    other = served.ask("OPTIONS", "/predict", None, question | {"Origin": "https://evil.example"})
    error(other, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in other.headers


def test_every_answer_has_the_security_headers(endpoint):
    served, _ = endpoint
    paths = ("/", "/docs.json", "/model/info", "/metrics", "/livez", "/nope")
    answers = [served.ask("GET", path) for path in paths] + [served.predict(ROW), served.post(b"{")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


# Metrics and log


def test_the_metrics_tell_requests_estimates_and_what_the_process_uses(start):
    served, worker = start()
    release = served.release.name
    answers = [
        served.predict(ROW),
        served.predict(ROW, {**ROW, "area": 9000}, path="/api/v1/predict?declared"),
    ]
    served.post(b"{")
    served.post(b"x", kind="text/plain")
    served.ask("GET", "/made-up")
    estimates = [p["estimate"] for answer in answers for p in answer.json["predictions"]]
    got = figures(served)

    def requests(route, outcome, release=""):
        key = ("outcome", outcome), ("release", release), ("route", route)
        return got.get(("hedonic_requests_total", *key), 0)

    assert requests("/predict", "ok", release) == 1
    assert requests("/api/v1/predict", "ok", release) == 1
    assert requests("/predict", "invalid_request", release) == 1
    assert requests("/predict", "unsupported_media_type") == 1
    assert requests("other", "not_found") == 1
    labels = ("release", release), ("unit", "USD")
    assert got["hedonic_estimates_total", *labels] == 3
    assert got["hedonic_estimates_sum", *labels] == pytest.approx(sum(estimates))
    assert got["hedonic_estimate_min", *labels] == min(estimates)
    assert got["hedonic_estimate_max", *labels] == max(estimates)
    assert got["hedonic_out_of_range_inputs_total", ("field", "area"), ("release", release)] == 1
    assert got["hedonic_request_duration_seconds_count", ("route", "/predict")] == 3
    memory = got["hedonic_process_resident_memory_bytes", ("worker", "1")]
    assert memory == pytest.approx(worker.memory_info().rss, rel=0.2)
    assert got["hedonic_process_cpu_seconds_total", ("worker", "1")] > 0.1
    assert any(key[0] == "bentoml_service_request_total" for key in got)  # BentoML's own stay


def line_about(served, request_id):
    """Return the line of a request; it is written after its answer was sent."""

    def written():
        lines = served.log.read_text().splitlines(keepends=True)
        return next((line for line in lines if request_id in line and line.endswith("\n")), None)

    return json.loads(wait_for(written, f"a line about {request_id}"))


def test_the_log_is_lines_of_json_with_ids_and_without_bodies(endpoint):
    served, _ = endpoint
    marked = {**ROW, "quarter": "a-street-that-nobody-may-read"}
    answers = [served.predict(ROW), served.predict(marked), served.ask("GET", "/nope")]
    told = [line_about(served, answer.headers["x-request-id"]) for answer in answers]
    assert [line["status"] for line in told] == [200, 400, 404]
    assert told[0]["release"] == served.release.name
    assert told[0]["duration_ms"] > 0
    text = served.log.read_text()
    assert "nobody-may-read" not in text
    plain = [line for line in text.splitlines() if not line.startswith("{")]
    assert all(re.match(r".*\[cli\]", line) for line in plain), plain  # BentoML's command, before the service


# Before the port opens


def refused_start(tmp_path, *options, **settings):
    done = refused_to_start(tmp_path, tiny_release(tmp_path / "releases"), *options, **settings)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout + done.stderr
    return done.stderr


def test_beyond_loopback_without_a_token_it_does_not_start_and_says_what_to_set(tmp_path):
    told = refused_start(tmp_path, "--host", "0.0.0.0")
    assert "0.0.0.0: beyond loopback without a token" in told
    assert "Set HEDONIC_API_TOKEN" in told


def test_a_setting_that_cannot_be_used_is_told_before_the_port_opens(tmp_path):
    told = refused_start(tmp_path, HEDONIC_GUARD__QUEUE="many", HEDONIC_GUARD__TYPO="1")
    assert "HEDONIC_GUARD__QUEUE: Input should be a valid integer" in told
    assert "HEDONIC_GUARD__TYPO: Extra inputs" in told


def test_unless_asked_it_listens_on_loopback_alone(endpoint):
    served, worker = endpoint
    listening = [c.laddr for c in worker.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", served.port)]


def test_a_connection_in_use_at_the_end_is_answered(start):
    served, worker = start()
    with opened(served.port, f"Content-Length: {len(BODY)}\r\nExpect: 100-continue") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")  # it is in use
        connection.sendall(BODY[:10])
        rest = threading.Timer(0.5, connection.sendall, [BODY[10:]])
        rest.start()
        worker.send_signal(signal.SIGTERM)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
        rest.join()
