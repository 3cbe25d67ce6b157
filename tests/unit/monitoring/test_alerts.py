"""The book of alerts: what is open, who is told, and that nothing is lost."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import get_context

import pytest

from hedonic.monitoring.alerts import Alert, AlertBook, AlertFeed
from hedonic.settings import Settings


def alert(**changes):
    told = {
        "kind": "run-failed",
        "severity": "warning",
        "key": "run-failed:tiny_town",
        "title": "tiny_town: the run failed",
        "text": "the source is gone",
        "dataset": "tiny_town",
    }
    return Alert(**(told | changes))


def settings_of(folder, **alerts):
    return Settings(root=folder, home=folder / "home", alerts=alerts)


@pytest.fixture
def book(tmp_path):
    return AlertBook(settings_of(tmp_path))


@pytest.fixture
def channel():
    """A web hook: its URL for apprise, and what was posted there."""
    posted = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    # apprise waits 4 s for a connection and for an answer, unless the URL says otherwise.
    yield f"json://127.0.0.1:{server.server_port}/?cto=30&rto=30", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_new_book_has_nothing_open(book):
    assert book.open() == book.recent() == ()
    assert not book.settle("run-failed:tiny_town")


def test_an_alert_is_open_until_it_is_settled(book):
    assert book.raise_(alert())
    assert [a.key for a in book.open()] == ["run-failed:tiny_town"]
    assert book.settle("run-failed:tiny_town")
    assert book.open() == ()
    assert [a.title for a in book.recent()] == ["tiny_town: the run failed"]
    assert book.raise_(alert())


def test_the_same_again_is_counted_and_not_told_again(book):
    assert book.raise_(alert(at="2026-01-01T00:00:00+00:00"))
    assert not book.raise_(alert(text="again"))
    (known,) = book.open()
    assert (known.times, known.at, known.text) == (2, "2026-01-01T00:00:00+00:00", "again")
    assert book.raise_(alert(severity="critical"))


def test_the_worst_comes_first_and_news_are_not_open(book):
    book.raise_(alert(at="2026-01-02T00:00:00+00:00"))
    book.raise_(
        alert(key="worker-lost", kind="worker-lost", severity="critical", at="2026-01-03T00:00:00+00:00")
    )
    book.raise_(alert(key="a", at="2026-01-01T00:00:00+00:00"))
    assert book.raise_(alert(key="champion", kind="champion-promoted", severity="info"))
    assert [a.key for a in book.open()] == ["worker-lost", "a", "run-failed:tiny_town"]
    assert [a.key for a in book.recent(2)] == ["champion", "a"]


def test_a_feed_has_what_is_new_worse_or_over_and_each_of_it_once(book, tmp_path):
    book.raise_(alert(key="before"))
    feed = AlertFeed(settings_of(tmp_path))
    assert feed.news() == ()
    book.raise_(alert())
    book.raise_(alert(text="again"))
    book.raise_(alert(severity="critical"))
    book.raise_(alert(key="champion", kind="champion-promoted", severity="info"))
    told = [(one.event, one.alert.key, one.alert.severity) for one in feed.news()]
    assert told == [
        ("raised", "run-failed:tiny_town", "warning"),
        ("raised", "run-failed:tiny_town", "critical"),
        ("raised", "champion", "info"),
    ]
    assert feed.news() == ()
    book.raise_(alert(text="and again"))
    assert feed.news() == ()
    book.settle("before")
    assert [one.sentence for one in feed.news()] == ["settled: tiny_town: the run failed"]


def test_half_a_line_is_passed_over_and_the_next_one_is_whole(book, tmp_path):
    book.raise_(alert())
    path = tmp_path / "home" / "alerts.jsonl"
    with path.open("a") as file:
        file.write('{"event": "raised", "alert": {"ki')
    book.raise_(alert(key="other"))
    assert {a.key for a in book.open()} == {"run-failed:tiny_town", "other"}


def _raise_many(folder, first):
    for n in range(first, first + 25):
        AlertBook(settings_of(folder)).raise_(alert(key=f"key-{n}"))


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    context = get_context("spawn")
    writers = [context.Process(target=_raise_many, args=(tmp_path, first)) for first in (0, 25, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert {a.key for a in AlertBook(settings_of(tmp_path)).open()} == {f"key-{n}" for n in range(75)}


def test_channels_are_told_what_is_bad_enough_and_that_it_is_over(tmp_path, channel):
    url, posted = channel
    book = AlertBook(settings_of(tmp_path, channels=url, least="warning"))
    book.raise_(alert(link="http://127.0.0.1:4200/runs"))
    book.raise_(alert(key="champion", kind="champion-promoted", severity="info"))
    (told,) = posted
    assert told["title"] == "tiny_town: the run failed"
    assert told["message"] == "the source is gone\nhttp://127.0.0.1:4200/runs"
    assert told["type"] == "warning"


def test_that_it_is_over_is_told_to_channels_that_want_news(tmp_path, channel):
    url, posted = channel
    book = AlertBook(settings_of(tmp_path, channels=url, least="info"))
    book.raise_(alert())
    book.settle("run-failed:tiny_town")
    assert [told["title"] for told in posted] == [
        "tiny_town: the run failed",
        "settled: tiny_town: the run failed",
    ]


def test_a_channel_that_is_down_is_logged_without_its_password_and_fails_nothing(tmp_path, caplog):
    down = "json://user:hunter2@127.0.0.1:9/ nonsense://hunter2"
    with caplog.at_level(logging.ERROR, logger="hedonic.alerts"):
        assert AlertBook(settings_of(tmp_path, channels=down)).raise_(alert())
    assert "did not reach every channel" in caplog.text
    assert "no such channel: nonsense://" in caplog.text
    assert "hunter2" not in caplog.text


def test_by_default_channels_are_told_of_a_promotion(tmp_path, channel):
    url, posted = channel
    news = alert(key="champion", kind="champion-promoted", severity="info", title="a new champion")
    AlertBook(settings_of(tmp_path, channels=url)).raise_(news)
    assert [told["title"] for told in posted] == ["a new champion"]


def test_the_settings_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDONIC_ALERTS__CHANNELS", "json://a/ json://b/")
    monkeypatch.setenv("HEDONIC_ALERTS__LEAST", "critical")
    settings = Settings(root=tmp_path, home=tmp_path)
    assert [url.get_secret_value() for url in settings.alerts.urls] == ["json://a/", "json://b/"]
    assert settings.alerts.least == "critical"
    assert "json://a/" not in repr(settings)
