"""Rounds: each rule is seen to fire, to stay silent, to tell once, and to be settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hedonic.front_page.aliases import SETTLED
from hedonic.front_page.books import Book, Books
from hedonic.front_page.composition import Facts
from hedonic.front_page.flow_runs import ActionFailure, Deployment, FlowRun, Orchestration
from hedonic.front_page.look import Look
from hedonic.front_page.rounds import CALM, DOWN, LATE, Rounds
from hedonic.front_page.tools import Answered, Tracked
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.settings import Settings
from hedonic.supervisor import Running

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Round:
    """A project whose facts a test states, and the rounds through it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rounds = Rounds(settings, gathering=None)  # type: ignore[arg-type]  # facts are given
        self.at = NOW
        self.running: dict[str, Running] | None = {"optuna": Running(1, "same")}
        self.orchestration: Orchestration | None = Orchestration(workers={"vm": "ONLINE"})
        self.problem: str | None = None
        self.unknown: tuple[str, ...] = ()
        self.books: dict[str, Book] = {}
        self.tracked: dict[str, Tracked] = {}

    def walk(self, later: timedelta = timedelta(seconds=15)) -> set[str]:
        """Return the keys of the alerts that are open after another round."""
        self.at += later
        probe: Look[Answered] = Look("", answers)
        probe.told, probe.problem = Answered(1.0), self.problem
        facts = Facts(
            at=self.at, settings=self.settings, parts=(), books=self.books, alerts=(), running=self.running,
            orchestration=self.orchestration, counted=None, tracked=self.tracked, studies={},
            probes={"optuna": probe}, served={}, unknown=self.unknown,
        )  # fmt: skip
        self.rounds.write(facts)
        return {alert.key for alert in AlertBook(self.settings).open()}


async def answers() -> Answered:
    return Answered(1.0)


@pytest.fixture
def here(settings: Settings) -> Round:
    settings.home.mkdir(exist_ok=True)
    return Round(settings)


def run(state: str = "Failed", **changes: Any) -> FlowRun:
    times = {"expected": NOW, "started": NOW, "ended": NOW}
    named = {
        "id": "r",
        "name": "small: nightly",
        "flow": "train",
        "deployment": "train/small",
        "dataset": "small",
    }
    kind = {"Late": "SCHEDULED"}.get(state, state.upper())
    return FlowRun(
        **({"reason": None, "kind": kind, "state": state, "message": "why"} | times | named | changes)
    )


def test_nothing_is_told_while_all_is_well(here: Round) -> None:
    here.orchestration = Orchestration(runs=(run("Completed"),), workers={"vm": "ONLINE"})
    assert here.walk() | here.walk() == set()


def test_an_alias_of_mlflow_on_another_version_than_the_champions_is_told_until_it_is_put_back(
    here: Round, champion: None
) -> None:
    here.books = Books(here.settings).read()
    (book,) = here.books.values()
    assert book.champion is not None
    here.at = datetime.fromisoformat(book.champion.at)
    here.tracked = {"small_county": Tracked("7", "4")}
    assert here.walk() == set()  # the promotion may be writing it
    assert here.walk(SETTLED) == {"alias-moved:small_county"}
    here.tracked, here.unknown = {}, ("MLflow: nothing answers",)
    assert here.walk() == {"alias-moved:small_county"}  # nobody knows
    here.tracked, here.unknown = {"small_county": Tracked("7", "1")}, ()
    assert here.walk() == set()


def test_a_part_with_another_pid_was_restarted_and_is_well_again_once_it_was_calm(here: Round) -> None:
    here.walk()
    here.running = {"optuna": Running(2, "same")}
    assert here.walk() == {"part-restarted:optuna"}
    assert here.walk(CALM / 2) == {"part-restarted:optuna"}
    assert here.walk(CALM) == set()


def test_a_part_that_was_replaced_by_another_definition_is_no_restart(here: Round) -> None:
    here.walk()
    here.running = {"optuna": Running(2, "another")}
    assert here.walk() == set()


def test_a_restart_is_seen_by_a_page_that_was_restarted_itself(here: Round) -> None:
    here.walk()
    after = Round(here.settings)
    after.running = {"optuna": Running(2, "same")}
    assert after.walk() == {"part-restarted:optuna"}


@pytest.mark.parametrize(("pid", "problem"), [(None, None), (1, "nothing answers")])
def test_a_part_that_does_not_run_or_answer_for_a_minute_is_down(
    here: Round, pid: int | None, problem: str | None
) -> None:
    here.running, here.problem = {"optuna": Running(pid, "same")}, problem
    assert here.walk() == set()
    assert here.walk(DOWN) == {"part-down:optuna"}
    here.running, here.problem = {"optuna": Running(pid or 1, "same")}, None
    assert here.walk() == set()


def test_workers_that_are_all_silent_for_a_minute_are_lost(here: Round) -> None:
    here.orchestration = Orchestration(workers={"vm": "OFFLINE"})
    assert here.walk() == set()
    assert here.walk(DOWN) == {"worker-lost"}
    here.orchestration = Orchestration(workers={"vm": "OFFLINE", "other": "ONLINE"})
    assert here.walk() == set()


def test_an_alert_links_to_where_people_open_the_page_and_not_to_where_we_ask_it(here: Round) -> None:
    pages = {"prefect": "https://prefect.prices.example.com"}
    asked = {"prefect": "http://prefect:4200"}
    given = here.settings.model_dump() | {"pages": pages, "services": asked}
    here.settings = Settings(**given)
    here.orchestration = Orchestration(workers={"vm": "OFFLINE"})
    here.walk()
    here.walk(DOWN)
    (alert,) = AlertBook(here.settings).open()
    assert alert.link == "https://prefect.prices.example.com/v2/work-pools"


def test_a_run_that_is_late_missed_its_schedule(here: Round) -> None:
    here.orchestration = Orchestration(runs=(run("Late", started=None, ended=None),))
    assert here.walk() == set()
    assert here.walk(LATE) == {"schedule-missed:train/small"}
    here.orchestration = Orchestration(runs=(run("Completed"),))
    assert here.walk() == set()


def test_a_schedule_for_which_no_run_waits_is_missed(here: Round) -> None:
    declared = Deployment(id="d", name="train/small", is_scheduled=True, updated=NOW, dataset="small")
    here.orchestration = Orchestration(deployments={"d": declared})
    assert here.walk() == set()
    assert here.walk(LATE) == {"schedule-missed:train/small"}
    waiting = (run("Scheduled", started=None, ended=None),)
    here.orchestration = Orchestration(deployments={"d": declared}, scheduled=waiting)
    assert here.walk() == set()


def test_an_automation_that_could_not_act_is_told_until_it_can(here: Round) -> None:
    here.orchestration = Orchestration(
        failures=(ActionFailure("a", "hedonic: train", "no such template", NOW),)
    )
    assert here.walk() == {"automation-failed:hedonic: train"}
    here.orchestration = Orchestration()
    assert here.walk() == set()


def test_an_automation_that_came_too_late_for_a_run_is_no_alert(here: Round) -> None:
    late = "Failed to set state: Run is already in terminal state COMPLETED."
    here.orchestration = Orchestration(failures=(ActionFailure("a", "no heartbeat", late, NOW),))
    assert here.walk() == set()


@pytest.mark.parametrize("state", ["Failed", "Crashed"])
def test_a_failed_run_that_nothing_reported_is_told_until_one_completes(here: Round, state: str) -> None:
    failed = run(state)
    here.orchestration = Orchestration(runs=(failed,))
    assert here.walk() == set(), "its own hook may still tell"
    assert here.walk(timedelta(minutes=1)) == {"run-failed:small"}
    future = datetime.now(UTC) + timedelta(hours=1)
    here.orchestration = Orchestration(runs=(failed, run("Completed", ended=future)))
    assert here.walk() == set()


def test_a_failed_run_that_its_hook_reported_is_not_told_twice(here: Round) -> None:
    ended = datetime.now(UTC)
    AlertBook(here.settings).raise_(
        Alert(
            kind="data-refused",
            severity="critical",
            key="data-refused:small",
            dataset="small",
            title="",
            text="",
        )
    )
    here.at = ended
    here.orchestration = Orchestration(runs=(run(started=ended - timedelta(minutes=1), ended=ended),))
    assert here.walk(timedelta(minutes=2)) == {"data-refused:small"}


def test_what_could_not_be_asked_settles_nothing(here: Round) -> None:
    here.orchestration = Orchestration(workers={"vm": "OFFLINE"})
    here.walk()
    assert here.walk(DOWN) == {"worker-lost"}
    here.orchestration, here.unknown = Orchestration(workers={"vm": "ONLINE"}), ("Prefect: no answer in 8 s",)
    assert here.walk() == {"worker-lost"}


def test_an_alert_that_goes_on_is_written_once(here: Round) -> None:
    here.orchestration = Orchestration(
        failures=(ActionFailure("a", "hedonic: train", "no such template", NOW),)
    )
    here.walk()
    here.walk()
    (alert,) = AlertBook(here.settings).open()
    assert alert.times == 1


def test_other_alerts_are_left_to_who_raised_them(here: Round) -> None:
    told = Alert(kind="verdict-refused", severity="warning", key="verdict-refused:small", title="", text="")
    AlertBook(here.settings).raise_(told)
    assert here.walk() == {"verdict-refused:small"}
