"""The history only grows, chains its records, and has one champion whatever happens to processes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from hedonic.errors import HedonicError, UserError
from hedonic.promotion import history as history_module
from hedonic.promotion.history import Entry, History, StaleChampion, WrongEnvironment
from hedonic.promotion.record import GENESIS
from hedonic.promotion.standing import IllegalTransition
from hedonic.promotion.verdict import Finding, Verdict

SRC = Path(history_module.__file__).parents[2]
A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """Return where an empty history may be: the same is asked of both stores."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url").replace("postgresql://", "postgresql+psycopg://")
    return f"sqlite:///{tmp_path / 'home' / 'history.db'}"


@pytest.fixture
def history(url):
    opened = History(url)
    yield opened
    opened.close()


@contextmanager
def connected(url):
    """Yield a connection of the store's own driver, committed at the end."""
    if url.startswith("postgresql"):
        connection = psycopg.connect(url.replace("+psycopg", ""))
    else:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def entry(kind="kept", **changes) -> Entry:
    return Entry(**{"dataset": "king_county", "kind": kind, "actor": "ana", "reason": "nightly", **changes})


def promote(history, release, expected=None, dataset="king_county"):
    return history.append(
        entry("promoted", release=release, bento=f"king_county:{release[:16]}", dataset=dataset),
        expected_champion=expected,
    )


def test_a_new_history_has_no_champion_and_a_whole_chain(history):
    assert history.champion("king_county") is None
    assert (history.records(), history.head(), history.verify_chain()) == ((), None, ())


def test_a_record_comes_back_as_it_was_written(history):
    verdict = Verdict(
        promoted=True,
        kind="promoted",
        reasons=(Finding(check="better", outcome="passed", value=0.1, limit=0.05, sentence="better"),),
    )
    before = datetime.now(UTC)
    written = history.append(
        entry(
            "promoted",
            release=A,
            bento="king_county:aaaa",
            candidate=B,
            verdict=verdict,
            figures={"log_rmse": 0.16, "prb": math.nan, "cod": math.inf},
            recipe=C,
            snapshot=A,
            flow_run="f-1",
            mlflow_run="m-1",
        ),
        expected_champion=None,
    )
    assert history.records("king_county") == (written,)
    assert written.figures == {"log_rmse": 0.16, "prb": None, "cod": None}
    assert written.reasons == verdict.reasons
    assert (written.seq, written.previous, written.kind, written.release) == (1, GENESIS, "promoted", A)
    assert before <= datetime.fromisoformat(written.at) <= datetime.now(UTC)
    assert written.at.endswith("+00:00")


def test_the_champion_is_the_last_promoted_or_rolled_back_release_of_its_data_set(history):
    promote(history, A)
    promote(history, C, dataset="california")
    promote(history, B, expected=A)
    history.append(entry("kept", candidate=C))
    history.append(entry("refused", candidate=C))
    history.append(entry("collected", release=C))
    assert history.champion("king_county").release == B
    history.append(entry("rolled_back", release=A), expected_champion=B)
    assert history.champion("king_county").release == A
    assert history.champion("california").release == C
    assert history.champion("ames") is None


def test_a_promotion_judged_against_another_champion_is_stale_and_writes_nothing(history):
    promote(history, A)
    before = history.records()
    with pytest.raises(StaleChampion, match=f"king_county: the champion is {A}.* judged against none"):
        promote(history, B, expected=None)
    with pytest.raises(StaleChampion, match=f"judged against {C}"):
        promote(history, B, expected=C)
    with pytest.raises(StaleChampion, match="the champion is none"):
        promote(history, B, expected=A, dataset="california")
    with pytest.raises(StaleChampion, match="run again to judge it against the new one"):
        history.append(entry("kept"), expected_champion=B)
    assert history.records() == before


def test_a_verdict_that_changes_no_champion_need_not_name_one(history):
    promote(history, A)
    history.append(entry("kept"))
    history.append(entry("refused"), expected_champion=A)
    assert len(history.records()) == 3


@pytest.mark.parametrize("kind", ["promoted", "rolled_back"])
def test_a_change_of_champion_needs_a_release_and_the_champion_it_expects(history, kind):
    with pytest.raises(ValueError, match=f"of kind {kind} needs a release and expected_champion"):
        history.append(entry(kind, release=A))
    with pytest.raises(ValueError, match="needs a release"):
        history.append(entry(kind), expected_champion=None)
    assert history.head() is None


def test_an_entry_refuses_kinds_and_digests_it_does_not_know():
    with pytest.raises(ValidationError, match="kind"):
        entry("crowned")
    with pytest.raises(ValidationError, match="release"):
        entry("promoted", release="not-a-digest")


def test_a_failed_attempt_says_what_failed_and_changes_no_champion(history):
    promote(history, A)
    failed = history.append(entry("failed", release=B, failure="the endpoint did not get ready"))
    assert (failed.failure, failed.incumbent) == ("the endpoint did not get ready", A)
    assert history.champion("king_county").release == A
    with pytest.raises(ValidationError, match="kind failed has failure=None"):
        entry("failed")
    with pytest.raises(ValidationError, match="kind kept has failure='x'"):
        entry("kept", failure="x")


def test_a_record_that_does_not_fit_the_standing_of_its_release_is_not_written(history):
    promote(history, A)
    before = history.records()
    refused = "king_county: release b{12} is candidate; only one that is challenger can be approved"
    with pytest.raises(IllegalTransition, match=refused):
        history.append(entry("approved", release=B), expected_champion=A)
    with pytest.raises(IllegalTransition, match="is champion; only one that is archived can be rolled back"):
        history.append(entry("rolled_back", release=A), expected_champion=A)
    with pytest.raises(IllegalTransition, match="is champion; .* can be collected"):
        history.append(entry("collected", release=A))
    assert history.records() == before


def test_a_flow_run_has_one_verdict_however_often_it_is_recorded(history):
    told = entry("promoted", release=A, flow_run="run-1")
    first = history.append(told, expected_champion=None)
    assert history.append(told, expected_champion=None) == first
    assert history.append(entry("refused", flow_run="run-1")) == first
    assert history.append(entry("kept", flow_run="run-11")).seq == 2
    assert history.append(entry("failed", flow_run="run-1", failure="x")).seq == 3


def test_what_was_champion_at_a_time_is_told_with_its_end(history):
    first = promote(history, A)
    history.append(entry("kept"))
    second = promote(history, B, expected=A)
    before = datetime.fromisoformat(first.at) - timedelta(microseconds=1)
    assert history.champion_at("king_county", before) is None
    assert history.champion_at("california", datetime.now(UTC)) is None
    reign = history.champion_at("king_county", datetime.fromisoformat(second.at) - timedelta(microseconds=1))
    assert (reign.record, reign.since, reign.until) == (first, first.at, second.at)
    reign = history.champion_at("king_county", datetime.fromisoformat(second.at))
    assert (reign.record, reign.until) == (second, None)


def test_a_clock_that_was_set_back_does_not_reorder_the_records(history, monkeypatch):
    first = promote(history, A)

    class Yesterday(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.now(zone) - timedelta(days=1)

    monkeypatch.setattr(history_module, "datetime", Yesterday)
    assert promote(history, B, expected=A).at == first.at


def test_what_waits_for_a_person_is_told_until_it_is_decided_or_the_champion_moved(history):
    promote(history, A)
    assert history.parked("king_county") == ()
    history.append(entry("parked", release=B), expected_champion=A)
    again = history.append(entry("parked", release=B, reason="again"), expected_champion=A)
    other = history.append(entry("parked", release=C), expected_champion=A)
    assert history.parked("king_county") == (again, other)
    history.append(entry("rejected", release=C))
    assert history.parked("king_county") == (again,)
    assert history.standing("king_county", C) == "rejected"
    promote(history, C, expected=A)
    assert history.parked("king_county") == ()
    assert history.standing("king_county", B) == "candidate"
    assert history.standing("king_county", "f" * 64) == "candidate"


# Environments


def test_a_history_is_of_the_environment_that_began_it(url):
    production, staging = History(url, "production"), History(url, "staging")
    assert staging.environment() is None
    promote(production, A)
    assert staging.environment() == "production"
    assert staging.champion("king_county").release == A
    fix = "is that of production, and this process is of staging.*HEDONIC_ENVIRONMENT=production"
    with pytest.raises(WrongEnvironment, match=fix):
        promote(staging, B, expected=A)
    with pytest.raises(WrongEnvironment, match=fix):
        staging.require_environment()
    production.require_environment()
    assert len(production.records()) == 1
    for opened in (production, staging):
        opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hedonic_history_environment SET environment = 'staging'",
        "DELETE FROM hedonic_history_environment",
    ],
)
def test_the_store_itself_refuses_to_change_the_environment(history, url, statement):
    promote(history, A)
    with connected(url) as connection, pytest.raises((sqlite3.Error, psycopg.Error), match="stays in"):
        connection.execute(statement)
    assert history.environment() == "production"


def test_a_recipe_is_found_again_with_its_last_verdict(history):
    assert history.find_recipe("king_county", C) is None
    history.append(entry("kept", recipe=C, reason="first"))
    history.append(entry("refused", recipe=C, reason="second"))
    history.append(entry("collected", recipe=C, reason="third"))
    history.append(entry("kept", recipe=A, reason="other"))
    assert history.find_recipe("king_county", C).reason == "second"
    assert history.find_recipe("california", C) is None
    assert history.find_recipe("king_county", B) is None


@pytest.mark.parametrize("kind", ["kept", "refused"])
def test_what_lost_to_a_champion_that_was_left_since_is_to_be_judged_again(history, kind):
    promote(history, A)
    promote(history, B, expected=A)
    history.append(entry(kind, recipe=C, reason="lost to B"))
    assert history.find_recipe("king_county", C).reason == "lost to B"
    history.append(entry("rolled_back", release=A), expected_champion=B)
    assert history.find_recipe("king_county", C) is None
    history.append(entry(kind, recipe=C, reason="lost to A, too"))
    assert history.find_recipe("king_county", C).reason == "lost to A, too"


def test_what_was_promoted_and_left_by_a_roll_back_is_not_promoted_again_by_itself(history):
    promote(history, A)
    history.append(entry("promoted", release=B, recipe=C), expected_champion=A)
    history.append(entry("rolled_back", release=A), expected_champion=B)
    assert history.find_recipe("king_county", C).release == B


def test_each_record_continues_the_one_before_whatever_its_data_set(history):
    first, second = promote(history, A), promote(history, B, dataset="california")
    third = history.append(entry("kept"))
    assert [record.seq for record in (first, second, third)] == [1, 2, 3]
    assert (second.previous, third.previous) == (first.hash, second.hash)
    assert history.head() == third
    assert history.records() == (first, second, third)
    assert history.records("king_county") == (first, third)
    assert history.verify_chain() == ()


def test_what_is_hashed_is_the_canonical_json_of_the_record(history, url):
    record = promote(history, A)
    with connected(url) as connection:
        ((body, stored_hash),) = connection.execute("SELECT body, hash FROM hedonic_history").fetchall()
    content = json.loads(body)
    assert body == json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert stored_hash == record.hash == hashlib.sha256(body.encode()).hexdigest()
    assert "hash" not in content


def test_the_history_survives_being_closed(history, url):
    written = promote(history, A)
    history.close()
    again = History(url)
    assert again.champion("king_county") == written
    again.close()


# Append-only


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE hedonic_history SET kind = 'kept'", "no record is ever changed"),
        ("DELETE FROM hedonic_history WHERE seq = 2", "no record is ever .*deleted"),
        ("INSERT INTO hedonic_history VALUES (9, 'x', 'kept', NULL, '{}', 'p', 'h')", "at its end"),
    ],
)
def test_the_store_itself_refuses_to_change_a_record(history, url, statement, words):
    promote(history, A)
    promote(history, B, expected=A)
    with connected(url) as connection, pytest.raises((sqlite3.Error, psycopg.Error), match=words):
        connection.execute(statement)
    assert history.champion("king_county").release == B
    assert len(history.records()) == 2


@pytest.mark.parametrize(
    ("url", "statement"),
    [
        ("sqlite", "INSERT OR REPLACE INTO hedonic_history SELECT * FROM hedonic_history WHERE seq = 2"),
        ("postgres", "TRUNCATE hedonic_history"),
        (
            "postgres",
            "INSERT INTO hedonic_history SELECT * FROM hedonic_history WHERE seq = 2 "
            "ON CONFLICT (seq) DO UPDATE SET kind = 'kept'",
        ),
    ],
    indirect=["url"],
)
def test_a_record_is_not_replaced_by_another_word_for_it(history, url, statement):
    promote(history, A)
    promote(history, B, expected=A)
    with connected(url) as connection, pytest.raises((sqlite3.Error, psycopg.Error), match="append-only"):
        connection.execute(statement)
    assert history.champion("king_county").release == B
    assert len(history.records()) == 2


def tampered(url, statement):
    """Do to the store what only someone can who takes the triggers away first."""
    with connected(url) as connection:
        if url.startswith("postgresql"):
            connection.execute("ALTER TABLE hedonic_history DISABLE TRIGGER USER")
        else:
            for name in ("update", "delete"):
                connection.execute(f"DROP TRIGGER hedonic_history_no_{name}")
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE {} SET body = replace(body, 'ana', 'eve')", "record 2: its content was changed"),
        ("UPDATE {} SET kind = 'kept'", "record 2: its column kind says 'kept'"),
        ("UPDATE {} SET hash = 'x'", "record 3: does not continue the record before"),
        ("UPDATE {} SET body = 'x'", "record 2: its content is not JSON"),
        ("DELETE FROM {}", "record 3: expected record 2: 1 missing before it"),
        ("DELETE FROM {}", "record 3: does not continue the record before it"),
    ],
)
def test_a_changed_record_is_named(history, url, statement, problem):
    promote(history, A)
    promote(history, B, expected=A)
    promote(history, C, expected=B)
    assert history.verified_records("king_county") == (history.records(), ())
    tampered(url, statement.format("hedonic_history") + " WHERE seq = 2")
    assert history.verified_records("king_county") == ((), history.verify_chain())
    assert any(told.startswith(problem) for told in history.verify_chain())


def test_a_record_of_a_newer_format_is_refused_for_reading_and_writing(history, url):
    promote(history, A)
    tampered(
        url,
        """UPDATE hedonic_history SET body = replace(body, '"format_version":2', '"format_version":3')""",
    )
    with pytest.raises(HedonicError, match="format_version 3, newer than 2, .* Upgrade Hedonic"):
        history.champion("king_county")
    with pytest.raises(HedonicError, match="format_version 3"):
        history.append(entry("kept"))


# As Hedonic wrote it before format 2.
OLD_BODY = (
    '{"actor":"ana","at":"2026-11-20T08:00:00.000000+00:00","bento":"king_county:1","candidate":null,'
    '"dataset":"king_county","figures":{},"flow_run":null,"format_version":1,"kind":"promoted",'
    '"mlflow_run":null,"previous":"' + GENESIS + '","reason":"nightly","recipe":null,"release":"' + A + '",'
    '"seq":1,"snapshot":null,"verdict":null}'
)


def test_a_record_of_an_older_format_is_migrated_and_its_chain_goes_on(history, url):
    digest = hashlib.sha256(OLD_BODY.encode()).hexdigest()
    with connected(url) as connection:
        connection.execute(
            "INSERT INTO hedonic_history (seq, dataset, kind, recipe, body, previous, hash) "
            f"VALUES (1, 'king_county', 'promoted', NULL, '{OLD_BODY}', '{GENESIS}', '{digest}')"
        )
    old = history.champion("king_county")
    assert (old.release, old.format_version, old.incumbent, old.failure) == (A, 2, None, None)
    assert history.environment() == "production"  # where there were no environments yet
    new = promote(history, B, expected=A)
    assert (new.incumbent, new.previous) == (A, digest)
    assert history.verify_chain() == ()


def test_a_damaged_record_is_told_from_a_newer_one(history, url):
    promote(history, A)
    tampered(url, """UPDATE hedonic_history SET body = '{"format_version": 1}'""")
    with pytest.raises(
        HedonicError, match="damaged record .*dataset: Field required.* Restore the store from a backup"
    ):
        history.champion("king_county")


# The store


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_writes_ahead_and_syncs(history):
    with history._transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_a_store_that_cannot_be_opened_says_what_to_check(tmp_path):
    (tmp_path / "history.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(
        HedonicError, match=r"history\.db: file is not a database\. .*Check HEDONIC_HISTORY_URL"
    ):
        History(f"sqlite:///{tmp_path / 'history.db'}")


@pytest.mark.parametrize("url", ["nonsense", "oracle+nodriver://host/db"])
def test_a_url_that_names_no_store_is_the_users_error(url):
    with pytest.raises(UserError, match="HEDONIC_HISTORY_URL: cannot open a store .* Give sqlite:///path"):
        History(url)


# Processes

CHILD = """
import sys
from hedonic.promotion.history import Entry, History, StaleChampion, WrongEnvironment

url, who, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
history = History(url)
won = 0
for round in range(rounds):
    {body}
print(won, flush=True)
"""
APPEND = """
    history.append(Entry(dataset="king_county", kind="kept", actor=who, reason=str(round)))
    won += 1
"""
PROMOTE = """
    champion = history.champion("king_county")
    expected = champion.release if champion else None
    release = f"{int(who):032x}{round:032x}"
    judged = {"release": release, "actor": who, "reason": expected or "first"}
    try:
        history.append(Entry(dataset="king_county", kind="promoted", **judged), expected_champion=expected)
        won += 1
    except StaleChampion:
        pass
"""


def spawn(url, who, rounds, body):
    script = CHILD.format(body=textwrap.dedent(body).strip().replace("\n", "\n    "))
    return subprocess.Popen(
        [sys.executable, "-c", script, url, str(who), str(rounds)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def race(url, n_processes, rounds, body) -> list[int]:
    """Return what each process won; all start from the same line, on a store that is not there yet."""
    children = [spawn(url, who, rounds, body) for who in range(n_processes)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    won = [int(child.communicate(timeout=120)[0]) for child in children]
    assert [child.returncode for child in children] == [0] * n_processes
    return won


def test_processes_that_append_at_once_lose_nothing_and_break_nothing(url):
    assert race(url, 3, 20, APPEND) == [20, 20, 20]
    history = History(url)
    assert history.verify_chain() == ()
    written = [(record.actor, record.reason) for record in history.records()]
    assert sorted(written) == sorted((str(who), str(n)) for who in range(3) for n in range(20))
    history.close()


def test_of_processes_that_promote_at_once_each_wins_only_against_the_champion_it_saw(url):
    won = race(url, 3, 20, PROMOTE)
    history = History(url)
    records = history.records()
    assert history.verify_chain() == ()
    assert len(records) == sum(won) >= 20
    assert [record.reason for record in records] == ["first", *[record.release for record in records[:-1]]]
    history.close()


def test_a_process_killed_before_its_commit_leaves_nothing_and_blocks_nobody(url):
    history = History(url)
    promote(history, A)
    body = """
    with history._transaction(write=True) as connection:
        connection.exec_driver_sql(
            "INSERT INTO hedonic_history VALUES (2, 'king_county', 'promoted', NULL, '{{}}', 'p', 'h')"
        )
        print("written", flush=True)
        sys.stdin.readline()
    """.replace("{{", "{").replace("}}", "}")
    child = spawn(url, 0, 1, body)
    child.stdin.write("go\n")
    child.stdin.flush()
    assert [child.stdout.readline() for _ in range(2)] == ["ready\n", "written\n"]
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert history.champion("king_county").release == A
    assert promote(history, B, expected=A).seq == 2
    assert history.verify_chain() == ()
    history.close()


def test_a_process_killed_while_it_appends_leaves_a_whole_chain(url):
    child = spawn(url, 0, 100_000, APPEND)
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "ready\n"
    history = History(url)
    while (head := history.head()) is None or head.seq < 20:
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert history.verify_chain() == ()
    assert history.append(entry("kept")).seq == len(history.records())
    history.close()
