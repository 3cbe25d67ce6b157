"""A champion that its endpoint refuses is told with the way back, until it is served or left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hedonic.data.contract_file import load_contract
from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError
from hedonic.front_page.books import Books
from hedonic.front_page.composition import Facts
from hedonic.front_page.look import Look
from hedonic.front_page.rounds import DOWN, Rounds
from hedonic.front_page.tools import Answered
from hedonic.monitoring.alerts import AlertBook
from hedonic.rollback.alerts import tell_refused
from hedonic.rollback.refused_champion import start_or_tell, why_not_served
from hedonic.supervisor import Running
from tests.rollbacks import DATASET, make_town

KEY = f"champion-refused:{DATASET}"


async def never():
    raise AssertionError("nobody asks")


class Rounded:
    """The rounds through a project whose endpoint says what a test wants."""

    def __init__(self, town):
        self.town, self.rounds = town, Rounds(town.settings, None)
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)
        self.serves, self.problem, self.unknown, self.running = town.champion, None, (), {}

    def walk(self, later=timedelta(seconds=15)):
        """Return the open alerts by key after another round."""
        self.at += later
        served, probe = Look("", never), Look("", never)
        served.told, served.problem, served.at = self.serves, self.problem, self.at
        probe.told, probe.problem = Answered(1.0), self.problem
        facts = Facts(
            at=self.at, settings=self.town.settings, parts=(), alerts=(),
            books=Books(self.town.settings).read(),
            running=self.running, orchestration=None, counted=None, tracked={}, studies={},
            probes={f"endpoint-{DATASET}": probe}, served={DATASET: served}, unknown=self.unknown,
        )  # fmt: skip
        self.rounds.write(facts)
        return {alert.key: alert for alert in AlertBook(self.town.settings).open()}


@pytest.fixture
def town(tmp_path):
    return make_town(tmp_path / "town", n_releases=2)


@pytest.fixture
def here(town):
    return Rounded(town)


def test_a_champion_that_is_served_is_not_told(here):
    assert here.walk() | here.walk(DOWN) == {}


def test_an_endpoint_that_goes_on_with_another_is_told_after_a_minute_until_it_follows(here, town):
    here.serves = town.releases[0].name
    assert here.walk() == {}, "a roll-out takes seconds"
    (alert,) = here.walk(DOWN).values()
    assert (alert.key, alert.severity, alert.dataset) == (KEY, "critical", DATASET)
    assert alert.text == (
        f"Its endpoint serves release {town.releases[0].name[:16]} and refuses this one, or cannot take it. "
        f"Go back: hedonic rollback {DATASET}"
    )
    here.serves = town.champion
    assert here.walk() == {}


def test_a_dead_endpoint_of_a_damaged_champion_is_told_with_the_damage_and_the_way_back(here, town):
    (town.releases[1] / "golden.json").write_text("{}")
    here.serves, here.problem = None, "nothing answers"
    here.walk()
    alert = here.walk(DOWN)[KEY]
    assert "golden.json: changed" in alert.text
    assert alert.text.endswith(f"Go back: hedonic rollback {DATASET}")


def test_a_dead_endpoint_of_a_sound_champion_is_down_and_told_as_that_with_the_way_back(here):
    here.serves, here.problem = None, "nothing answers"
    here.running = {f"endpoint-{DATASET}": Running(1, "same")}
    here.walk()
    (alert,) = here.walk(DOWN).values()
    assert alert.key == f"part-down:endpoint-{DATASET}"
    assert alert.text.endswith(f"If it refuses its release there: hedonic rollback {DATASET}")


def test_what_a_start_told_stays_open_while_nothing_is_served_and_no_history_settles_nothing(here, town):
    tell_refused(town.settings, DATASET, "its golden rows differ.")
    here.serves, here.problem = None, "nothing answers"
    assert set(here.walk()) == {KEY}
    here.serves, here.problem, here.unknown = town.champion, None, ("the history: locked",)
    assert set(here.walk()) == {KEY}
    here.unknown = ()
    assert here.walk() == {}


def test_a_start_that_is_refused_is_told_and_one_that_is_not_settles_it(town, monkeypatch):
    (town.releases[1] / "golden.json").write_text("{}")
    with pytest.raises(HedonicError, match=rf"golden.json: changed.*Go back: hedonic rollback {DATASET}$"):
        start_or_tell(town.settings, town.contract)
    (alert,) = AlertBook(town.settings).open()
    assert (alert.key, alert.text.count("Go back")) == (KEY, 1)
    serves = Endpoint(DATASET, "http://127.0.0.1:3000", pid=1, release=town.champion, bento=None)
    monkeypatch.setattr("hedonic.rollback.refused_champion.start_endpoint", lambda *_: serves)
    start_or_tell(town.settings, town.contract)
    assert AlertBook(town.settings).open() == ()


def test_status_tells_what_files_and_endpoint_tell(town, monkeypatch):
    champion, said = town.history.champion(DATASET), {"model": {"release": town.releases[0].name}}
    contract = load_contract(town.settings.expectations / f"{DATASET}.yaml")
    assert why_not_served(town.settings, contract, champion) is None  # no endpoint is to run
    with monkeypatch.context() as patch:
        patch.setattr("hedonic.rollback.refused_champion.Supervisor.names", lambda _: [f"endpoint-{DATASET}"])
        told = why_not_served(town.settings, contract, champion)
        assert told.endswith(f"does not answer (yet); see: hedonic logs endpoint-{DATASET}.")
    monkeypatch.setattr("hedonic.rollback.refused_champion.endpoint_info", lambda *_: said)
    told = f"serves release {town.releases[0].name[:16]}"
    assert why_not_served(town.settings, contract, champion).endswith(told)
    said["refused"] = {"release": champion.release, "reason": "3 golden answers differ"}
    assert why_not_served(town.settings, contract, champion).endswith(f"{told}: 3 golden answers differ")
    said["model"] = {"release": champion.release}
    assert why_not_served(town.settings, contract, champion) is None
    (town.releases[1] / "golden.json").write_text("{}")
    assert "golden.json: changed" in why_not_served(town.settings, contract, champion)
