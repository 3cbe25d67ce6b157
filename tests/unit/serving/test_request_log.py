"""The log: lines of JSON."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from hedonic.serving.asgi import Exchange
from hedonic.serving.request_log import REQUEST_ID, JsonLines, log_access

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lines():
    """Return the lines that loggers under "hedonic" write."""
    found = []

    class Keep(logging.Handler):
        def emit(self, record):
            found.append(json.loads(JsonLines().format(record)))

    logger, handler = logging.getLogger("hedonic"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_line_holds_time_level_logger_message_and_the_request_s_id(lines):
    token = REQUEST_ID.set("abc123")
    logging.getLogger("hedonic.serving").warning('a "quoted"\nmessage of %d', 5)
    REQUEST_ID.reset(token)
    logging.getLogger("hedonic.serving").info("outside")
    inside, outside = lines
    assert (inside["level"], inside["logger"], inside["request_id"]) == (
        "warning",
        "hedonic.serving",
        "abc123",
    )
    assert inside["message"] == 'a "quoted"\nmessage of 5'
    assert inside["time"].endswith("+00:00")
    assert "request_id" not in outside


def test_a_failure_is_one_line_with_its_traceback(lines):
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("hedonic.serving").exception("request failed")
    (line,) = lines
    assert line["traceback"].endswith("ValueError: broken")
    assert "test_request_log" in line["traceback"]


def test_an_access_is_told_without_the_body(lines):
    exchange = Exchange(
        "POST", "/predict", "203.0.113.7", "abc", body=b"secret", status=200, release="f" * 64
    )
    log_access(exchange, 0.0123456)
    (line,) = lines
    del line["time"]
    assert line == {
        "level": "info", "logger": "hedonic.access", "message": "POST /predict 200", "request_id": "abc",
        "method": "POST", "path": "/predict", "client": "203.0.113.7", "status": 200, "duration_ms": 12.346,
        "release": "f" * 64,
    }  # fmt: skip


def test_every_logger_of_the_process_writes_json_once():
    code = (
        "import logging, logging.config\n"
        "logging.basicConfig(format='plain %(message)s')\n"
        "bentoml = logging.getLogger('bentoml'); bentoml.addHandler(logging.StreamHandler())\n"
        "bentoml.setLevel(logging.INFO); bentoml.propagate = False\n"
        "from hedonic.serving.request_log import log_as_json\n"
        "log_as_json()\n"
        "bentoml.info('one'); logging.getLogger('hedonic.serving').info('two'); logging.error('three')\n"
    )
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    got = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert got == ["one", "two", "three"]
