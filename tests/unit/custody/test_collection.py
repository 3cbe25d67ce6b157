"""What nothing needs is collected; what a champion, a roll-back, an answer or a run needs stays."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hedonic.custody.claim import Retention
from hedonic.custody.collection import make_plans
from hedonic.custody.custody_lock import looking
from hedonic.custody.inspection import inspect
from hedonic.custody.sweep import Swept, sweep
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.bento import stored_bento
from hedonic.promotion.history import History
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor
from hedonic.turn import Turn
from tests.answered import answered
from tests.kept_home import DATASET, OLD, Champion, copied, kept_home, made_bento, record, write
from tests.tiny_release import tiny_model, tiny_release
from tests.unit.test_turn import line, taker

LATER = Retention(keep=1, days=30, now=datetime.now(UTC) + timedelta(seconds=OLD))
LOG = LogSettings(prediction_log_url=None)

Kept = tuple[Settings, list[Champion]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_home(tmp_path_factory.mktemp("original"), n=4)


@pytest.fixture
def kept(original: Kept, tmp_path: Path) -> Kept:
    """Return a home with four champions, one after the other; three months later it is swept."""
    settings, champions = original
    return copied(settings, tmp_path / "copy"), champions


def swept(
    settings: Settings, retention: Retention = LATER, log: LogSettings = LOG, dataset: str | None = None
) -> Swept:
    return sweep(settings, log, retention, dataset, actor="ana", reason="gc --keep 1")


def of(settings: Settings, champion: Champion) -> dict[str, list[Path]]:
    """Return where all that belongs to a champion is."""
    home = settings.home
    return {
        "release": [settings.releases / DATASET / champion.release],
        "bento": [stored_bento(settings.bentos, champion.bento)],
        "candidate": [settings.candidates / DATASET / champion.candidate],
        "snapshot": [settings.snapshots / DATASET / champion.snapshot],
        "reports": [
            settings.validations / f"{champion.report}.json",
            settings.reports / f"evaluation-{champion.candidate[:16]}.json",
        ],
        "steps": [
            path for key in champion.steps for path in (home / "steps" / DATASET).glob(f"*/{key}.json")
        ],
        "results": [settings.prefect_home / "storage" / key for key in champion.steps],
    }


def there(settings: Settings, champion: Champion) -> set[str]:
    return {kind for kind, paths in of(settings, champion).items() if any(path.exists() for path in paths)}


def whole(settings: Settings, champion: Champion) -> bool:
    found = of(settings, champion)
    return len(found["steps"]) == 5 and all(path.exists() for paths in found.values() for path in paths)


def collected(settings: Settings) -> list[str | None]:
    history = History(settings.history)
    try:
        assert history.verify_chain() == ()
        return [record.release for record in history.records() if record.kind == "collected"]
    finally:
        history.close()


def wrong(settings: Settings) -> list[str]:
    return [seen.told for seen in inspect(settings) if seen.state == "wrong"]


def files(home: Path) -> set[str]:
    quiet = ("-wal", "-shm", ".lock")
    return {
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(quiet)
    }


def test_champion_and_roll_back_target_stay_whole_and_what_was_before_them_goes(kept: Kept) -> None:
    settings, (first, second, target, champion) = kept
    gone = swept(settings).gone
    assert (there(settings, first), there(settings, second)) == (set(), set())
    assert whole(settings, target)
    assert whole(settings, champion)
    assert collected(settings) == [first.release, second.release]
    assert {holding.kind for holding in gone} == {
        "release", "bento", "candidate", "snapshot", "report", "step",
    }  # fmt: skip
    assert wrong(settings) == []
    states = {seen.name: seen.state for seen in inspect(settings)}
    assert states[first.release] == states[second.release] == "collected"


def test_a_dry_run_changes_nothing_and_tells_why_each_thing_stays(kept: Kept) -> None:
    settings, (first, _, target, champion) = kept
    before = files(settings.home)
    (plan,) = make_plans(settings, LOG, LATER)
    assert files(settings.home) == before
    assert collected(settings) == []
    told = {
        (decision.holding.kind, decision.holding.name): (decision.goes, decision.why)
        for decision in plan.decisions
    }
    assert told["release", champion.release] == (False, "champion")
    assert told["release", target.release] == (False, "roll-back target")
    assert told["release", first.release][0]
    assert told["candidate", target.candidate] == (False, f"release {target.release[:12]} was made from it")
    assert told["step", target.steps[2]] == (False, "a kept model was made or judged by it")


def test_a_report_that_a_kept_release_is_recorded_with_stays_whatever_it_is_about(kept: Kept) -> None:
    settings, (first, *_, champion) = kept
    named, unnamed = settings.reports / "study-a.json", settings.reports / "study-b.json"
    write(named, {"dataset": DATASET, "trials": 12})
    write(unnamed, {"dataset": DATASET, "trials": 13})
    digest = hashlib.sha256(named.read_bytes()).hexdigest()
    record(settings, "rolled_back", release=first.release)
    record(settings, "rolled_back", release=champion.release, candidate=digest)
    swept(settings)
    assert (named.exists(), unnamed.exists()) == (True, False)


def test_as_many_champions_stay_as_are_asked_for(kept: Kept) -> None:
    settings, (first, *others) = kept
    swept(settings, Retention(keep=3, days=30, now=LATER.now))
    assert there(settings, first) == set()
    assert all(whole(settings, champion) for champion in others)


def test_what_was_champion_within_the_days_stays(kept: Kept) -> None:
    settings, champions = kept
    assert swept(settings, Retention(keep=1, days=120, now=LATER.now)).gone == ()
    assert all(whole(settings, champion) for champion in champions)


def test_a_release_that_a_logged_answer_points_to_stays_whole_until_the_answer_is_past_its_retention(
    kept: Kept,
) -> None:
    settings, (first, second, *_) = kept
    store = PredictionLogStore(str(settings.home / "prediction_log.db"))
    store.append([answered(dataset=DATASET, release=first.release, role="shadow")])
    store.close()
    swept(settings)  # without a retention every answer that is there counts
    swept(settings, log=LogSettings(log_retention_days=100))
    assert whole(settings, first)
    assert there(settings, second) == set()
    swept(settings, log=LogSettings(log_retention_days=60))
    assert there(settings, first) == set()


def test_a_log_in_postgres_is_asked_too(kept: Kept, postgres_url: str) -> None:
    settings, (first, second, *_) = kept
    store = PredictionLogStore(postgres_url)
    store.append([answered(dataset=DATASET, release=second.release)])
    store.close()
    swept(settings, log=LogSettings(prediction_log_url=postgres_url))
    assert whole(settings, second)
    assert there(settings, first) == set()


def test_nothing_goes_while_the_log_cannot_be_asked(kept: Kept) -> None:
    settings, champions = kept
    away = LogSettings(prediction_log_url="postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(HedonicError, match="prediction log"):
        swept(settings, log=away)
    assert all(whole(settings, champion) for champion in champions)
    assert collected(settings) == []


def test_the_log_that_a_running_endpoint_was_told_to_write_to_is_asked_too(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, (first, second, *_) = kept
    elsewhere = str(tmp_path / "elsewhere.db")
    store = PredictionLogStore(elsewhere)
    store.append([answered(dataset=DATASET, release=second.release)])
    store.close()
    monkeypatch.setattr(Supervisor, "names", lambda _: [f"endpoint-{DATASET}"])
    monkeypatch.setattr(
        Supervisor, "running_environment", lambda *_: {"HEDONIC_PREDICTION_LOG_URL": elsewhere}
    )
    swept(settings)
    assert whole(settings, second)
    assert there(settings, first) == set()


def test_no_release_that_was_served_goes_where_there_is_no_log_and_none_was_declared_off(kept: Kept) -> None:
    settings, champions = kept
    (settings.home / "prediction_log.db").unlink()
    with pytest.raises(UserError, match="Set HEDONIC_PREDICTION_LOG_URL as the service has it, or"):
        swept(settings)
    assert all(whole(settings, champion) for champion in champions)
    assert collected(settings) == []
    assert swept(settings, Retention(keep=1, days=120, now=LATER.now)).gone == ()  # nothing that was served
    swept(settings, log=LogSettings(prediction_log_mode="off"))
    assert there(settings, champions[0]) == set()


def test_a_release_that_a_traffic_plan_names_stays(kept: Kept) -> None:
    settings, (first, *_) = kept
    folder = settings.releases / DATASET / first.release
    PlanFile(settings.home, DATASET).write(
        TrafficPlan(mode="shadow", challenger=str(folder), release=first.release, share=0.5)
    )
    swept(settings)
    assert whole(settings, first)


def test_a_release_that_awaits_approval_stays_and_one_that_was_rejected_goes(kept: Kept) -> None:
    settings, (first, second, *_) = kept
    for champion in (first, second):
        record(settings, "parked", release=champion.release)
    record(settings, "rejected", release=second.release)
    swept(settings)
    assert whole(settings, first)
    assert there(settings, second) == set()


def test_what_was_rejected_within_the_days_stays(kept: Kept) -> None:
    settings, _ = kept
    release = tiny_release(settings.releases, tiny_model(seed=9)).name
    record(settings, "parked", release=release)
    record(settings, "rejected", release=release)
    swept(settings, Retention(keep=1, days=120, now=LATER.now))
    assert (settings.releases / DATASET / release).is_dir()
    swept(settings)
    assert not (settings.releases / DATASET / release).is_dir()
    assert release in collected(settings)
    assert wrong(settings) == []


def test_after_a_roll_back_the_new_champion_and_its_target_stay(kept: Kept) -> None:
    settings, (first, second, *left) = kept
    record(settings, "rolled_back", release=second.release, bento=second.bento)
    swept(settings)
    assert whole(settings, second)
    assert whole(settings, first)
    assert not any({"release", "bento"} & there(settings, champion) for champion in left)
    assert "steps" in there(settings, left[-1])  # the last of each step, for who wants to see it run again
    assert wrong(settings) == []


def test_what_a_run_left_without_an_end_stays_a_day_and_then_goes(kept: Kept) -> None:
    settings, _ = kept
    release = tiny_release(settings.releases, tiny_model(seed=9)).name
    left = [
        settings.releases / DATASET / release,
        stored_bento(settings.bentos, made_bento(settings, release)),
        settings.releases / DATASET / ".writing-abc",
        settings.snapshots / DATASET / ".ingest-abc",
    ]
    for folder in left[2:]:
        folder.mkdir()
    swept(settings, Retention(keep=9, days=0))
    assert all(path.exists() for path in left)
    swept(settings, Retention(keep=9, days=0, now=datetime.now(UTC) + timedelta(days=2)))
    assert not any(path.exists() for path in left)
    assert collected(settings) == []  # the history never named it
    latest = left[1].parent / "latest"
    assert (latest.parent / latest.read_text()).is_dir()


def test_copies_and_dumps_go_by_their_age_and_a_copy_of_a_kept_release_stays(kept: Kept) -> None:
    settings, (first, *_, champion) = kept
    fetched, dump = settings.home / "fetched", settings.home / "debug" / "20260101T000000-train"
    for release in (first.release, champion.release):
        shutil.copytree(settings.releases / DATASET / release, fetched / release)
    write(dump / "inputs.json", {})
    swept(settings, dataset=DATASET)
    assert [path.name for path in fetched.iterdir()] == [champion.release]
    assert dump.exists()  # it is of no data set
    swept(settings)
    assert not dump.exists()


def test_a_data_set_in_training_is_left_alone(kept: Kept) -> None:
    settings, champions = kept
    with taker(settings.home, DATASET) as training:
        assert line(training) == "mine"
        found = swept(settings)
    assert (found.gone, found.in_training) == ((), {DATASET: str(training.pid)})
    assert all(whole(settings, champion) for champion in champions)
    assert swept(settings).gone


def test_nothing_is_taken_away_while_somebody_looks(kept: Kept) -> None:
    settings, champions = kept
    with looking(settings.home), pytest.raises(HedonicError, match="being verified, backed up"):
        swept(settings)
    assert all(whole(settings, champion) for champion in champions)


def test_who_trains_next_waits_until_the_sweep_is_over(kept: Kept) -> None:
    settings, _ = kept
    held: list[str | None] = []

    def look(_: object) -> None:
        asked = subprocess.run(
            ["flock", "--nonblock", settings.home / "turns" / f"{DATASET}.lock", "true"], check=False
        )
        held.append(str(asked.returncode))

    sweep(settings, LOG, LATER, actor="ana", reason="gc", tell=look)
    assert set(held) == {"1"}
    assert Turn(settings.home, DATASET).take_if_free() is None
    Turn(settings.home, DATASET).end()


def test_another_champion_meanwhile_ends_the_sweep_before_anything_is_gone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, (first, *others) = kept
    made = make_plans(settings, LOG, LATER)
    record(settings, "rolled_back", release=first.release, bento=first.bento)
    monkeypatch.setattr("hedonic.custody.sweep.make_plans", lambda *_: made)
    with pytest.raises(HedonicError, match="another release became champion meanwhile"):
        swept(settings)
    assert whole(settings, first)
    assert collected(settings) == []
    assert all(whole(settings, champion) for champion in others)


def test_a_release_that_was_collected_is_never_gone_back_to(kept: Kept) -> None:
    settings, (first, *_, champion) = kept
    swept(settings)
    with pytest.raises(HedonicError, match=f"release {first.release[:12]} was collected: its files are gone"):
        record(settings, "rolled_back", release=first.release, bento=first.bento)
    record(settings, "promoted", release=first.release)  # made again, it is champion again
    record(settings, "rolled_back", release=champion.release)
    record(settings, "rolled_back", release=first.release)


def test_nothing_goes_by_a_history_that_was_edited(kept: Kept) -> None:
    settings, champions = kept
    connection = sqlite3.connect(settings.home / "history.db")
    connection.execute("DROP TRIGGER hedonic_history_no_update")
    connection.execute("UPDATE hedonic_history SET body = replace(body, 'nightly', 'by hand') WHERE seq = 4")
    connection.commit()
    connection.close()
    with pytest.raises(HedonicError, match="chain is broken: record 4: its content was changed.*Nothing was"):
        swept(settings)
    assert all(there(settings, champion) for champion in champions)


def test_a_data_set_that_is_not_kept_is_named(kept: Kept) -> None:
    with pytest.raises(UserError, match=r"cars: nothing is kept of it\. Known: tiny_town"):
        swept(kept[0], dataset="cars")
