"""``hedonic history``, ``what-served``, ``approve`` and ``reject``: what was decided, and by whom."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError
from hedonic.promotion.history import Entry, History
from hedonic.promotion.pointer import read_pointer
from tests.tiny_release import constant_model, tiny_contract, tiny_release
from tests.unit.cli.test_run import verdict

A, B = "a" * 64, "b" * 64


@pytest.fixture
def history(project):
    opened = History(f"sqlite:///{project / '.hedonic' / 'history.db'}")
    yield opened
    opened.close()


def promote(history, release, expected, reason, dataset="toy"):
    entry = Entry(
        dataset=dataset, kind="promoted", release=release, bento="toy:1", verdict=verdict(), actor="ana",
        reason=reason,
    )  # fmt: skip
    return history.append(entry, expected_champion=expected)


def test_the_history_is_listed_with_who_why_what_failed_and_what_it_is_now(hedonic, history):
    promote(history, A, None, "first")
    failed = Entry(dataset="toy", kind="failed", release=B, actor="bo", reason="nightly", failure="no memory")
    history.append(failed)
    promote(history, B, A, "second")
    code, out, _ = hedonic("history", "toy")
    assert code == 0
    lines = [" ".join(line.split()).partition("Z ")[2] for line in out.splitlines()]
    assert lines == [
        "toy promoted aaaaaaaaaaaa now archived ana: first",
        "toy failed bbbbbbbbbbbb now champion bo: nightly: no memory",
        "toy promoted bbbbbbbbbbbb now champion ana: second",
    ]
    content = json.loads(hedonic("history", "--json")[1].splitlines()[-1])
    assert (content["environment"], content["problems"]) == ("production", [])
    assert [record["kind"] for record in content["records"]] == ["promoted", "failed", "promoted"]
    assert hedonic("history", "elsewhere", "--json")[1].count('"kind"') == 0


def test_a_history_that_was_tampered_with_is_listed_and_fails(hedonic, history, project):
    promote(history, A, None, "first")
    store = sqlite3.connect(project / ".hedonic" / "history.db")
    store.execute("DROP TRIGGER hedonic_history_no_update")
    store.execute("UPDATE hedonic_history SET kind = 'kept'")
    store.commit()
    store.close()
    code, out, err = hedonic("history")
    assert code == 1
    assert "aaaaaaaaaaaa" in out
    assert "record 1: its column kind says 'kept'" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("what-served", "tiny_town", "--at", "2026-01-01"),
        ("approve", "tiny_town", "--reason", "x"),
        ("reject", "tiny_town", "--reason", "x"),
        ("rollback", "tiny_town"),
    ],
)
def test_nobody_goes_by_a_history_that_was_tampered_with(hedonic, history, project, arguments):
    contract = tiny_contract(serve={"port": 4000, "max_rows": 5})
    (project / "expectations" / "tiny_town.yaml").write_text(json.dumps(contract.model_dump(mode="json")))
    promote(history, A, None, "first", dataset="tiny_town")
    store = sqlite3.connect(project / ".hedonic" / "history.db")
    store.execute("DROP TRIGGER hedonic_history_no_update")
    store.execute("UPDATE hedonic_history SET body = replace(body, 'ana', 'eve')")
    store.commit()
    store.close()
    code, _, err = hedonic(*arguments)
    assert code == 1
    assert "tiny_town: the history is not whole: record 1: its content was changed" in " ".join(err.split())
    assert len(history.records()) == 1


@pytest.mark.parametrize("arguments", [("history",), ("what-served", "toy", "--at", "2026-01-01")])
def test_before_anything_was_decided_there_is_no_history(hedonic, project, arguments):
    code, _, err = hedonic(*arguments)
    assert code == 2
    assert "nothing was decided yet" in err
    assert not (project / ".hedonic" / "history.db").exists()


def test_what_served_tells_release_bento_since_until_and_why(hedonic, history):
    first, second = promote(history, A, None, "first"), promote(history, B, A, "second")
    at = (datetime.fromisoformat(second.at) - timedelta(microseconds=1)).isoformat()
    code, out, _ = hedonic("what-served", "toy", "--at", at)
    assert code == 0
    for told in (A, "toy:1", f"from {first.at} until {second.at}", "promoted by ana: first", "by a lot"):
        assert told in out
    content = json.loads(hedonic("what-served", "toy", "--at", second.at, "--json")[1].splitlines()[-1])
    assert (content["release"], content["since"], content["until"]) == (B, second.at, None)
    assert (content["bento"], content["kind"], content["actor"]) == ("toy:1", "promoted", "ana")


def test_a_time_is_in_utc_unless_it_names_its_zone(hedonic, history):
    first = promote(history, A, None, "first")
    began = datetime.fromisoformat(first.at)
    east = (began.astimezone(UTC) + timedelta(hours=2)).replace(tzinfo=None).isoformat()
    assert f"release {A}" in hedonic("what-served", "toy", "--at", first.at[:26])[1]
    assert f"release {A}" in hedonic("what-served", "toy", "--at", f"{east}+02:00")[1]
    assert "no champion yet" in hedonic("what-served", "toy", "--at", f"{first.at[:26]}+02:00")[1]


def test_a_time_before_the_first_champion_says_so(hedonic, history):
    first = promote(history, A, None, "first")
    code, out, _ = hedonic("what-served", "toy", "--at", "2020-01-01")
    assert code == 0
    assert "there was no champion yet at 2020-01-01T00:00:00+00:00" in out
    assert f"the first became champion at {first.at}" in out
    content = json.loads(hedonic("what-served", "toy", "--at", "2020-01-01", "--json")[1].splitlines()[-1])
    assert content["release"] is content["since"] is None


@pytest.mark.parametrize(
    ("at", "told"),
    [("yesterday", "not an ISO 8601 time"), ("2999-01-01", "has not come yet"), ("2026-13-01", "not an ISO")],
)
def test_what_is_no_time_of_the_past_is_the_users_error(hedonic, history, at, told):
    promote(history, A, None, "first")
    code, _, err = hedonic("what-served", "toy", "--at", at)
    assert code == 2
    assert told in err


def test_a_data_set_that_the_history_does_not_know_is_the_users_error(hedonic, history):
    promote(history, A, None, "first")
    assert hedonic("what-served", "nowhere", "--at", "2020-01-01")[0] == 2


# Approval


@pytest.fixture
def endpoint(monkeypatch):
    """An endpoint that starts, or does not."""
    asked = SimpleNamespace(failure=None, started=[])

    def start_endpoint(settings, dataset, port, *, stays=False):
        if asked.failure:
            raise HedonicError(asked.failure)
        release = read_pointer(settings.home, dataset).release
        asked.started.append((dataset, release))
        return Endpoint(dataset, "http://127.0.0.1:1", 1, release, None)

    monkeypatch.setattr("hedonic.rollback.fallback.start_endpoint", start_endpoint)
    return asked


@pytest.fixture
def parked(project, history):
    """A release of the tiny town that awaits approval beside its champion."""
    contract = tiny_contract()
    (project / "expectations" / "tiny_town.yaml").write_text(json.dumps(contract.model_dump(mode="json")))
    promote(history, A, None, "first", dataset="tiny_town")
    release = tiny_release(project / ".hedonic" / "releases", constant_model(11.0)).name
    entry = Entry(dataset="tiny_town", kind="parked", release=release, actor="ana", reason="nightly")
    return history.append(entry, expected_champion=A)


def test_what_awaits_approval_is_told_by_status(hedonic, parked):
    told = f"release {parked.release[:12]} awaits approval"
    assert told in hedonic("status", "tiny_town")[1]
    assert json.loads(hedonic("status", "tiny_town", "--json")[1])["tiny_town"]["parked"] == [parked.release]


def test_an_approval_promotes_rolls_out_and_settles(hedonic, parked, history, endpoint):
    code, out, _ = hedonic("approve", "tiny_town", "--reason", "looked at it")
    assert code == 0
    assert f"release {parked.release} is champion" in out
    assert f"http://127.0.0.1:1 serves {parked.release[:12]}" in out
    assert endpoint.started == [("tiny_town", parked.release)]
    champion = history.champion("tiny_town")
    assert (champion.kind, champion.reason) == ("approved", "looked at it")
    assert hedonic("approve", "tiny_town", "--reason", "again")[0] == 2
    assert "awaits approval" not in hedonic("status", "tiny_town")[1]


def test_an_approval_needs_a_reason(hedonic, parked, history):
    assert hedonic("approve", "tiny_town")[0] == 2
    assert history.champion("tiny_town").release == A


def test_an_approval_whose_roll_out_fails_is_recorded_as_failed_too(hedonic, parked, history, endpoint):
    endpoint.failure = "the endpoint ended while starting"
    code, _, err = hedonic("approve", "tiny_town", "--reason", "looked at it")
    assert (code, "ended while starting" in err) == (1, True)
    last = history.records("tiny_town")[-1]
    assert (last.kind, last.release) == ("failed", parked.release)
    assert last.failure.startswith(endpoint.failure)


def test_a_rejection_leaves_the_champion(hedonic, parked, history, endpoint):
    code, out, _ = hedonic("reject", "tiny_town", "--reason", "too dear", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["record"]["kind"] == "rejected"
    assert history.champion("tiny_town").release == A
    assert endpoint.started == []


def test_a_command_of_another_environment_writes_nothing(hedonic, parked, history, monkeypatch):
    monkeypatch.setenv("HEDONIC_ENVIRONMENT", "staging")
    code, _, err = hedonic("reject", "tiny_town", "--reason", "from staging")
    assert code == 2
    assert "is that of production, and this process is of staging" in err
    assert history.records("tiny_town")[-1] == parked
