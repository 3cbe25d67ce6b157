"""The roll-back flow, and a training whose roll-out fails, with a real Prefect server and endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect import flow

from flows.roll_back import roll_back
from hedonic.endpoint import endpoint_state, start_endpoint
from hedonic.errors import HedonicError, UserError
from hedonic.monitoring.alerts import AlertBook
from hedonic.orchestration import find_callable
from hedonic.promotion.record import Record
from hedonic.supervisor import stop_all
from tasks.alerting import alert_of_failure
from tasks.promote import roll_out
from tasks.recognise import is_unfinished
from tests.flow_runs import artifacts, latest_run, step_states
from tests.flows.conftest import results_in
from tests.project import ROOT
from tests.rollbacks import DATASET, Town, make_town
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def town(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town whose third release is served; the first two were champion before it."""
    town = make_town(tmp_path_factory.mktemp("rollback") / "town", n_releases=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEDONIC_ROOT", str(town.settings.root))
        patch.setenv("HEDONIC_HOME", str(town.settings.home))
        start_endpoint(town.settings, DATASET, town.port)
        with results_in(town.settings.home / "results"):
            yield town
    stop_all(town.settings)


def serves(town: Town) -> str | None:
    state = wait_for(lambda: endpoint_state(town.settings, DATASET, town.port))
    assert state is not None
    return state.release


def test_the_flow_goes_back_to_the_champion_before_and_leaves_its_page(town: Town) -> None:
    left, target = town.releases[2].name, town.releases[1].name
    done = roll_back(dataset=DATASET, reason="prices too high")
    assert (done.left, done.record.release, done.record.reason) == (left, target, "prices too high")
    assert serves(town) == town.champion == target
    run = latest_run()
    assert run.name == f"{DATASET}: roll-back, prices too high ({target[:12]})"
    assert {DATASET} <= set(run.tags)
    assert done.record.flow_run == str(run.id)
    states = step_states(run.id, last="conclude-roll-back")
    steps = {"choose-target", "verify-target", "switch", "roll-out-target", "conclude-roll-back"}
    assert {name for name, state in states.items() if state == "Completed"} >= steps
    page = artifacts(run.id)["roll-back-tiny-town"]
    assert (target in page["data"], left in page["data"]) == (True, True)


def test_a_target_that_is_refused_fails_the_flow_and_changes_nothing(town: Town) -> None:
    before = town.champion
    with pytest.raises(UserError, match="--to 99: no such model version or release"):
        roll_back(dataset=DATASET, to="99")
    golden = town.releases[0] / "golden.json"
    whole = golden.read_bytes()
    golden.write_bytes(whole[:-20])
    try:
        with pytest.raises(HedonicError, match=r"golden\.json: changed"):
            roll_back(dataset=DATASET, to="1")
    finally:
        golden.write_bytes(whole)
    assert (town.champion, serves(town)) == (before, before)
    attempt = town.history.records(DATASET)[-1]
    assert (attempt.kind, attempt.flow_run) == ("failed", str(latest_run().id))


def test_a_training_whose_champion_is_refused_ends_failed_and_the_one_before_is_back(town: Town) -> None:
    before = town.champion
    bad = next(n for n, release in enumerate(town.releases) if release.name != before)
    golden = town.releases[bad] / "golden.json"
    whole = golden.read_bytes()

    @flow(name="promoting")
    def promoting() -> Any:
        town.crown(bad)
        golden.write_bytes(whole[:-20])
        return roll_out(town.contract)

    try:
        with pytest.raises(HedonicError, match=r"golden\.json: changed.*is champion again and serves"):
            promoting()
    finally:
        golden.write_bytes(whole)
    run = latest_run()
    assert run.state_name == "Failed"
    assert step_states(run.id, last="roll-out")["roll-out"] == "Failed"
    assert serves(town) == town.champion == before
    record = town.history.records(DATASET)[-1]
    assert (record.kind, record.flow_run) == ("rolled_back", str(run.id))
    assert "was not served rightly" in record.reason
    alerts = {alert.key: alert.severity for alert in AlertBook(town.settings).open()}
    assert alerts.pop(f"rolled-back:{DATASET}") == "warning"
    assert alerts.keys() <= {f"run-failed:roll-back {DATASET}"}  # what the tests before let be refused


def test_a_run_is_unfinished_only_while_its_release_is_champion(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.recognise.flow_run", SimpleNamespace(id="f-1"))
    champion = town.history.champion(DATASET)
    assert champion is not None

    def by_this_run(record: Record) -> Record:
        return record.model_copy(update={"flow_run": "f-1"})

    assert is_unfinished(by_this_run(champion))
    assert not is_unfinished(champion)
    earlier = town.history.records(DATASET)[0]
    assert not is_unfinished(by_this_run(earlier))


def test_the_deployments_give_the_flow_parameters_that_it_knows_and_drop_a_second_click() -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    found = [one for one in declared if one["entrypoint"] == "flows/roll_back.py:roll_back"]
    assert {one["name"] for one in found} == {path.stem for path in (ROOT / "expectations").glob("*.yaml")}
    for one in found:
        form: Any = find_callable(ROOT, one["entrypoint"])
        assert one["parameters"].keys() <= form.parameters.properties.keys()
        assert one["parameters"]["dataset"] == one["name"]
        assert one["concurrency_limit"]["collision_strategy"] == "CANCEL_NEW"
        assert "roll-back" in one["tags"]
    alert = next(one for one in declared if one["name"] == "alert")
    (told,) = (trigger for trigger in alert["triggers"] if "match_related" in trigger)
    assert "prefect.tag.roll-back" in told["match_related"]["prefect.resource.id"]
    assert alert_of_failure in roll_back.on_failure_hooks
