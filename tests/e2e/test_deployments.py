"""Deployed for real: `hedonic deploy`, schedules, events that start runs, and runs that take turns."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml

from hedonic.deployments import request_first_champion
from hedonic.errors import HedonicError, UserError
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.promotion.history import History
from hedonic.promotion.record import JUDGED
from hedonic.watching.code import look_at_code
from tests.deployed import DATASET, Deployment, deployed
from tests.drills import FULL, DrillTable
from tests.project import ROOT
from tests.waiting import wait_for_server

pytestmark = [pytest.mark.slow, pytest.mark.drill]

BIN = Path(sys.executable).parent
TRAIN, NIGHTLY, ROLL_BACK = f"train/{DATASET}", f"train/{DATASET}-nightly", f"roll-back/{DATASET}"
# What was promised, asked of a machine that does nothing else: `make drills`.
STARTED_WITHIN_S = 20 if FULL else 300
OVER_WITHIN_S = 300


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployed") / "a town", pausing=True) as town:
        yield town


def state(town: Deployment) -> dict[str, Any]:
    """Return all that a deployment puts into the server, without ids and times, its sets in order."""
    moving = {
        "id", "created", "updated", "last_polled", "status", "version_id", "version_info", "flow_id",
        "work_queue_id", "active_slots", "deployment_id", "created_by", "updated_by", "infra_overrides",
        "version",
    }  # fmt: skip

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: plain(content) for key, content in value.items() if key not in moving}
            return kept | {key: sorted(kept[key]) for key in ("expect", "after", "for_each") if key in kept}
        return [plain(one) for one in value] if isinstance(value, list) else value

    return {
        "deployments": plain(town.deployments()),
        "automations": {name: plain(found) for name, found in sorted(town.automations().items())},
        "limits": sorted(limit["name"] for limit in town.call("/v2/concurrency_limits/filter", {})),
    }


def command(town: Deployment, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        cwd=town.settings.root,
        capture_output=True,
        text=True,
        check=check,
    )


def test_all_that_is_declared_is_deployed(town: Deployment) -> None:
    found = town.deployments()
    assert set(found) == {TRAIN, NIGHTLY, f"watch/{DATASET}", ROLL_BACK, "score/score", "alert/alert"}
    form = form_of(found[TRAIN])
    assert form["trials"]["description"].startswith("Trials of the study")
    assert all(one.get("description") for entry in found.values() for one in form_of(entry).values())
    assert {"from_step", "reason", "seed"} <= form.keys()
    declared = {
        automation["name"]
        for path in (town.settings.root / "deployments" / "automations").glob("*.yaml")
        for automation in yaml.safe_load(path.read_text())["automations"]
    }
    triggers = {f"hedonic: train {DATASET} on {what}" for what in ("new data", "request", "new code")}
    assert declared | triggers <= town.automations().keys()


def form_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the form that Prefect's UI shows, a field a parameter."""
    fields: dict[str, Any] = deployment["parameter_openapi_schema"]["properties"]
    return fields


def test_prefects_own_commands_do_the_same_and_deploying_again_changes_nothing(town: Deployment) -> None:
    before = state(town)
    files = sorted((town.settings.root / "deployments" / "automations").glob("*.yaml"))
    script = " && ".join(
        [
            f'eval "$({BIN}/hedonic env)"',
            f"{BIN}/prefect --no-prompt deploy --all",
            *(f"{BIN}/prefect automation create --from-file {quote(str(file))}" for file in files),
        ]
    )
    subprocess.run(["bash", "-c", script], cwd=town.settings.root, check=True, capture_output=True)
    after = state(town)
    assert after["deployments"] == before["deployments"]
    twice = {name: found for name, found in after["automations"].items() if len(found) == 2}
    assert len(twice) >= 3
    assert all(first == second for first, second in twice.values()), "they are the same automations"
    told = json.loads(command(town, "hedonic", "deploy", "--json").stdout.splitlines()[-1])
    assert (told["removed"], TRAIN in told["deployments"]) == (sorted(twice), True)
    assert state(town) == before, "hedonic deploy keeps one of each"


def test_what_is_declared_no_longer_is_removed_and_what_others_made_stays(town: Deployment) -> None:
    before, content = state(town), town.declaration()
    flow = town.deployments()["score/score"]["flow_id"]
    town.call("/deployments/", {"name": "theirs", "flow_id": flow, "tags": ["somebody"]})
    restart = town.settings.root / "deployments" / "automations" / "restart.yaml"
    declared = restart.read_text()
    theirs = yaml.safe_load(declared)["automations"][0] | {"name": "theirs", "tags": []}
    town.call("/automations/", theirs)

    kept = [one for one in content["deployments"] if one["name"] not in ("score", f"{DATASET}-nightly")]
    town.declare(content | {"deployments": kept})
    restart.unlink()
    try:
        removed = town.deploy().removed
        assert removed == tuple(sorted((NIGHTLY, "score/score", "hedonic: a crashed run is started again")))
        rest = {TRAIN, f"watch/{DATASET}", ROLL_BACK, "alert/alert", "score/theirs"}
        assert set(town.deployments()) == rest
        assert "theirs" in town.automations()
        assert town.deployments()[TRAIN]["global_concurrency_limit"]["limit"] == 1, "still one at a time"
    finally:
        restart.write_text(declared)
        town.declare(content)
        town.deploy()
    town.call(f"/deployments/{town.deployments()['score/theirs']['id']}", method="DELETE")
    town.call(f"/automations/{town.automations()['theirs'][0]['id']}", method="DELETE")
    assert state(town) == before


def test_what_cannot_be_deployed_is_an_error_that_says_what_and_where(town: Deployment) -> None:
    content = town.declaration()
    broken = [one | {"entrypoint": "flows/no_such.py:flow"} for one in content["deployments"][:1]]
    try:
        town.declare(content | {"deployments": broken})
        with pytest.raises(HedonicError, match=r"(?s)prefect deploy --all: exit code 1 at http.*no_such"):
            town.deploy()
    finally:
        town.declare(content)
    untagged = town.settings.root / "deployments" / "automations" / "untagged.yaml"
    restart = yaml.safe_load((untagged.parent / "restart.yaml").read_text())["automations"][0]
    try:
        untagged.write_text(yaml.safe_dump({"automations": [restart | {"tags": []}]}))
        with pytest.raises(UserError, match=r"untagged\.yaml: .* has no tag hedonic"):
            town.deploy()
    finally:
        untagged.unlink()


def test_without_a_server_the_command_says_how_to_start_one(town: Deployment, tmp_path: Path) -> None:
    environment = {
        "HEDONIC_ROOT": str(town.settings.root),
        "HEDONIC_HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [str(BIN / "hedonic"), "deploy"],
        env=environment | {"HEDONIC_PORTS__PREFECT": "9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        "no Prefect server answers at http://127.0.0.1:9/api. Start everything by `hedonic up`" in done.stderr
    )


def test_the_scheduled_runs_appear_in_the_server_one_a_night(town: Deployment) -> None:
    nightly = town.deployments()[NIGHTLY]
    wanted = {"deployments": {"id": {"any_": [nightly["id"]]}}, "limit": 200}

    def scheduled() -> list[datetime] | None:
        found = [run for run in town.call("/flow_runs/filter", wanted) if run["auto_scheduled"]]
        times = sorted(datetime.fromisoformat(run["expected_start_time"]) for run in found)
        return times if len(times) >= 3 else None

    zone = ZoneInfo(nightly["schedules"][0]["schedule"]["timezone"])
    nights = [
        moment.astimezone(zone)
        for moment in wait_for_server(scheduled, "runs of the next nights", OVER_WITHIN_S)
    ]
    assert {(night.hour, night.minute) for night in nights} == {(4, 30)}
    assert all(a.date() + timedelta(days=1) == b.date() for a, b in itertools.pairwise(nights))


def test_a_first_champion_is_asked_for_once(town: Deployment) -> None:
    first = request_first_champion(town.settings, DATASET)
    assert request_first_champion(town.settings, DATASET) == first
    (run,) = town.runs(TRAIN)
    assert first.endswith(run["id"])
    assert run["parameters"]["reason"] == "first champion"
    with pytest.raises(UserError, match=r"train/cars: no such deployment\. Add one to prefect\.yaml"):
        request_first_champion(town.settings, "cars")
    assert town.wait_for_end(run["id"])["state_name"] == "Completed"
    assert records(town)[0].kind == "promoted"


def test_new_data_starts_exactly_one_run_and_trainings_of_a_data_set_take_turns(
    town: Deployment, drill_table: DrillTable
) -> None:
    known, before = {run["id"] for run in town.runs(TRAIN)}, records(town)[0]
    town.order.wait_at("tune")
    told_at = time.monotonic()
    town.drop_news()
    (run,) = wait_for_server(lambda: news(town, known), "a run", STARTED_WITHIN_S)
    wait_for_server(lambda: town.run(run["id"])["state_name"] == "Running", "it runs", STARTED_WITHIN_S)
    started_s = time.monotonic() - told_at
    assert started_s < STARTED_WITHIN_S
    drill_table.add("new data that is told to a real server", 1, f"one run, started after {started_s:.0f} s")
    assert run["parameters"]["reason"].startswith("data changed: -1 row")
    assert run["parameters"]["since"] == before.snapshot
    wait_for_server(town.order.waiting_process, "it is in the middle of its tuning", OVER_WITHIN_S)

    dropped, queued = town.start_run(NIGHTLY), town.start_run(TRAIN, reason="by hand")
    assert town.wait_for_end(dropped)["state_name"] == "Cancelled"
    wait_for_server(
        lambda: town.run(queued)["state_name"] == "AwaitingConcurrencySlot", "it waits", OVER_WITHIN_S
    )
    assert town.run(run["id"])["state_name"] == "Running"
    town.order.go_on()
    assert town.wait_for_end(run["id"])["state_name"] == "Completed"
    n_records = len(records(town))
    assert town.wait_for_end(queued)["state_name"] == "Completed"
    assert len(records(town)) == n_records == 2, "the one that waited found the verdict, and trained nothing"
    assert {one["id"] for one in town.runs(TRAIN)} - known == {run["id"], queued}


def test_a_commit_to_features_and_a_request_each_start_one_run_that_says_why_a_commit_to_docs_none(
    town: Deployment,
) -> None:
    known = {run["id"] for run in town.runs(TRAIN)}
    begin_repository(town.settings.root)
    assert look_at_code(town.settings, town.tell) is None, "the first commit that is seen is no news"
    commit(town.settings.root, "docs.md", "What is known about features.\n")
    assert look_at_code(town.settings, town.tell) is None
    sha = commit(town.settings.root, "src/hedonic/model/features.py", "\nMORE = 1\n")
    assert look_at_code(town.settings, town.tell) is not None
    assert look_at_code(town.settings, town.tell) is None
    (first,) = wait_for_server(lambda: news(town, known), "a run", STARTED_WITHIN_S)
    assert first["parameters"]["reason"] == f"code changed: {sha[:12]}"
    assert town.wait_for_end(first["id"])["state_name"] == "Completed"
    town.emit("dataset.changed", "hedonic.dataset.of_somebody_else", reason="data changed", previous="")
    town.emit("retrain.requested", f"hedonic.dataset.{DATASET}", reason="drift of sqft_living")
    (second,) = wait_for_server(lambda: news(town, known | {first["id"]}), "a run", STARTED_WITHIN_S)
    assert second["parameters"]["reason"] == "retrain requested: drift of sqft_living"
    assert town.wait_for_end(second["id"])["state_name"] == "Completed"
    assert {run["id"] for run in town.runs(TRAIN)} - known == {first["id"], second["id"]}


def begin_repository(root: Path) -> None:
    """Put copies of our own code under git, in a repository of the project's own."""
    for folder in ("src", "tasks"):
        (root / folder).unlink()
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "src", "tasks")
    git(root, "commit", "--quiet", "-m", "begin")


def commit(root: Path, file: str, text: str) -> str:
    """Append to a file and commit it; return the commit."""
    with (root / file).open("a") as open_file:
        open_file.write(text)
    git(root, "add", file)
    git(root, "commit", "--quiet", "-m", f"change {file}")
    return git(root, "rev-parse", "HEAD")


def git(root: Path, *arguments: str) -> str:
    identity = ("user.name=A Test", "user.email=test@example.invalid", "commit.gpgsign=false")
    given = [word for one in identity for word in ("-c", one)]
    command = ["git", "-C", str(root), *given, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_run_that_failed_is_an_alert_that_links_to_it_and_a_source_that_cannot_be_read_is_one(
    town: Deployment,
) -> None:
    problem = f"{DATASET}: source data/{DATASET}.parquet is empty."
    resource = f"hedonic.dataset.{DATASET}"
    town.emit("dataset.unreadable", resource, dataset=DATASET, source="data", problem=problem)
    book = AlertBook(town.settings)
    nowhere = {"source": "data/nowhere.csv", "target": "data/out.csv"}
    failed = town.start_run("score/score", dataset=DATASET, **nowhere)
    assert town.wait_for_end(failed)["state_name"] == "Failed"

    def raised() -> dict[str, Alert] | None:
        found = {one.key: one for one in book.open()}
        return found if {f"run-failed:score {DATASET}", f"data-refused:{DATASET}"} <= found.keys() else None

    found = wait_for_server(raised, "both alerts", OVER_WITHIN_S)
    assert set(found) == {f"run-failed:score {DATASET}", f"data-refused:{DATASET}"}
    of_run, of_source = found[f"run-failed:score {DATASET}"], found[f"data-refused:{DATASET}"]
    base = town.api.removesuffix("/api")
    assert of_run.severity == "critical"
    assert of_run.link == f"{base}/runs/flow-run/{failed}"
    assert "nowhere.csv" in of_run.text
    page = httpx.get(
        str(of_run.link), headers={"Accept": "text/html"}, trust_env=False, follow_redirects=True
    )
    assert page.status_code == httpx.codes.OK
    assert (of_source.text, of_source.link) == (problem, None)


def test_a_run_that_was_lost_with_its_worker_is_crashed_by_the_next_though_no_heartbeat_was_heard(
    town: Deployment,
) -> None:
    parameters = {"dataset": DATASET, "source": "data/nowhere.csv", "target": "data/out.csv"}
    wanted = {"parameters": parameters, "state": {"type": "RUNNING", "name": "Running"}}
    lost = town.call(f"/deployments/{town.deployments()['score/score']['id']}/create_flow_run", wanted)["id"]
    worker = town.supervisor.process_pid("worker")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    wait_for_server(lambda: "Crashed" in town.states(lost), "the next worker says so", OVER_WITHIN_S)
    told = {state["name"]: state["message"] for state in town.call(f"/flow_run_states/?flow_run_id={lost}")}
    assert told["Crashed"].startswith("Its process is gone")
    assert town.supervisor.process_pid("worker") not in (None, worker)
    cancelled = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
    town.call(f"/flow_runs/{lost}/set_state", cancelled)


def test_an_automation_that_cannot_start_a_training_is_an_alert(town: Deployment) -> None:
    content = town.declaration()
    broken = yaml.safe_load(yaml.safe_dump(content))
    train = broken["deployments"][0]
    assert f"train/{train['name']}" == TRAIN
    train["triggers"][1]["parameters"]["trials"] = "many"
    town.declare(broken)
    town.deploy()
    try:
        town.emit("retrain.requested", f"hedonic.dataset.{DATASET}", reason="drift")
        book = AlertBook(town.settings)
        alert, *others = wait_for_server(
            lambda: [one for one in book.open() if one.kind == "automation-failed"], "an alert", OVER_WITHIN_S
        )
        assert others == []
        assert alert.title == f"automation: hedonic: train {DATASET} on request"
        assert "many" in alert.text
    finally:
        town.declare(content)
        town.deploy()


def news(town: Deployment, known: set[str]) -> list[dict[str, Any]]:
    return [run for run in town.runs(TRAIN) if run["id"] not in known]


def records(town: Deployment) -> list[Any]:
    history = History(town.settings.history)
    try:
        return [record for record in history.records(DATASET) if record.kind in JUDGED]
    finally:
        history.close()
