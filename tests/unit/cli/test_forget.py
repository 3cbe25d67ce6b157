"""``hedonic forget`` and ``hedonic purge`` delete what they are asked to, after asking, and nothing else."""

from __future__ import annotations

import json
import os
import time

import pytest

from hedonic.serving.feedback import Feedback, Report
from hedonic.serving.prediction_log_store import PredictionLogStore
from tests.answered import answered

DAY_US = 86_400_000_000


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, project):
    """Return a log that the project's commands find: in its home, or by URL."""
    url = str(project / ".hedonic" / "prediction_log.db")
    if request.param == "postgres":
        url = os.environ["HEDONIC_PREDICTION_LOG_URL"] = request.getfixturevalue("postgres_url")
    store = PredictionLogStore(url)
    yield store
    store.close()


def of_toy(*instances, **changes):
    return answered(*instances, dataset="toy", **changes)


def kept(log):
    return [(row.request_id, row.row) for row in log.between()]


def test_a_request_is_shown_and_deleted_with_its_prices(hedonic, log):
    log.append([of_toy({"area": 1}, {"area": 2}, request_id="r1"), of_toy(request_id="r2")])
    Feedback(log).record(Report("r1", 5.0, row=1))
    code, out, _ = hedonic("forget", "toy", "--request", "r1", "--yes")
    assert code == 0
    assert "request r1: predictions: 2, prices: 1" in out
    assert "deleted: predictions: 2, prices: 1" in out
    assert ("VACUUM FULL" in out) is not log.is_file
    assert kept(log) == [("r2", 0)]


def test_a_person_is_found_by_values_of_the_contracts_types(hedonic, log):
    person = {"area": 120.5, "rooms": 3}
    log.append([of_toy({"area": 7, "rooms": 3}, person, request_id="r1"), of_toy(person, request_id="r2")])
    log.append([answered(person, request_id="r3", dataset="other")])
    code, out, _ = hedonic("forget", "toy", "--where", "area=120.5", "--where", "rooms=3", "--yes", "--json")
    assert code == 0
    assert json.loads(out) == {"dataset": "toy", "n_rows": 2, "n_prices": 0}
    assert kept(log) == [("r1", 0), ("r3", 0)]


@pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", [("r1", 0)]), ("", [("r1", 0)])])
def test_nothing_is_deleted_before_somebody_said_yes(hedonic, log, monkeypatch, tmp_path, answer, left):
    log.append([of_toy({"area": 1}, request_id="r1")])
    said = tmp_path / "said"
    said.write_text(answer)
    with said.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, err = hedonic("forget", "toy", "--where", "area=1")
    assert "request r1 of 20" in out
    assert "found: predictions: 1, in requests: 1" in out
    assert kept(log) == left
    assert code == (2 if left else 0)
    assert ("not confirmed. Nothing was deleted" in err) is bool(left)


def test_what_is_not_there_is_no_error_and_nobody_is_asked(hedonic, log):
    log.append([of_toy({"area": 1}, request_id="r1")])
    for asked in (("--request", "unknown"), ("--where", "area=2")):
        code, out, _ = hedonic("forget", "toy", *asked)
        assert (code, "nothing was found, and nothing was deleted" in out) == (0, True)
    assert kept(log) == [("r1", 0)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say what to forget: either --request ID or --where NAME=VALUE"),
        (("--request", "r1", "--where", "area=1"), "say what to forget: either"),
        (("--where", "area"), "area: must be NAME=VALUE"),
        (("--where", "area=big", "--where", "rooms=x"), "area: must be a number; got big; rooms: must be"),
        (("--where", "area=1", "--where", "area=2"), "area: given twice"),
        (("--where", "aera=1"), r"no logged row has the input aera (did you mean area?)"),
        (("--request", "of-another"), "request of-another is of other. Name that data set"),
    ],
)
def test_what_cannot_be_meant_deletes_nothing(hedonic, log, arguments, told):
    log.append([of_toy({"area": 1}, request_id="r1"), answered(request_id="of-another", dataset="other")])
    code, _, err = hedonic("forget", "toy", *arguments, "--yes")
    assert code == 2
    assert told in err
    assert "Nothing was deleted" in err
    assert len(kept(log)) == 2


@pytest.mark.parametrize("log", ["sqlite"], indirect=True)
def test_an_input_of_an_earlier_contract_is_forgotten_too(hedonic, log):
    log.append([of_toy({"owner": "Ana"}, request_id="r1"), of_toy({"owner": 7}, request_id="r2")])
    assert hedonic("forget", "toy", "--where", "owner=ANA", "--yes")[0] == 0
    assert kept(log) == [("r2", 0)]
    assert hedonic("forget", "toy", "--where", "owner=7", "--yes")[0] == 0
    assert kept(log) == []


def test_a_project_that_never_logged_says_where_it_looked(hedonic, project):
    for command in (("forget", "toy", "--request", "r1"), ("purge", "--older-than", "1")):
        code, _, err = hedonic(*command)
        assert code == 2
        assert "prediction_log.db: no prediction log here" in err
    assert not (project / ".hedonic" / "prediction_log.db").exists()


def test_a_purge_takes_what_is_older_than_asked_or_than_the_retention(hedonic, log):
    now_us = time.time_ns() // 1000
    log.append([of_toy(at_us=now_us - days * DAY_US, request_id=f"{days}") for days in (1, 20, 40)])
    code, out, _ = hedonic("purge", "--older-than", "30", "--json")
    assert (code, json.loads(out)) == (0, {"older_than_days": 30.0, "n_rows": 1, "n_prices": 0})
    os.environ["HEDONIC_LOG_RETENTION_DAYS"] = "10"
    code, out, _ = hedonic("purge")
    assert (code, "deleted: predictions: 1, prices: 0" in out) == (0, True)
    assert kept(log) == [("1", 0)]


@pytest.mark.parametrize(
    ("arguments", "retention", "told"),
    [
        ((), None, "Set HEDONIC_LOG_RETENTION_DAYS, or give --older-than DAYS. Nothing was deleted"),
        (("--older-than", "0"), None, "--older-than: must be a number of days above 0; got 0"),
        (("--older-than", "nan"), None, "--older-than: must be a number of days above 0; got nan"),
        ((), "soon", "HEDONIC_LOG_RETENTION_DAYS: Input should be a valid number"),
        ((), "-3", "HEDONIC_LOG_RETENTION_DAYS: Input should be greater than 0"),
    ],
)
def test_a_purge_without_a_number_of_days_deletes_nothing(hedonic, log, arguments, retention, told):
    log.append([of_toy(at_us=1)])
    if retention is not None:
        os.environ["HEDONIC_LOG_RETENTION_DAYS"] = retention
    code, _, err = hedonic("purge", *arguments)
    assert code == 2
    assert told in err
    assert len(kept(log)) == 1
