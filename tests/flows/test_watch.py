"""The watch flow and its events, with a real Prefect server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.watch import watch
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.settings import Settings
from hedonic.watching.event import NotDelivered, dataset_event
from tasks.difference import show_difference
from tasks.events import emit
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

DATASET = "small_county"


def arrived(name: str) -> list[dict[str, Any]]:
    """Return the events of that name that the server holds, the oldest first."""
    with get_client(sync_client=True) as client:
        wanted = {"event": {"name": [name]}, "occurred": {"since": "2020-01-01T00:00:00Z"}, "order": "ASC"}
        events = client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]
    return list(events)


def look(project: Settings) -> Any:
    """Run the flow until the file is quiet."""
    found: list[Any] = []

    def looked() -> bool:
        found.append(watch(dataset=DATASET))
        return bool(found[-1].outcome != "waiting")

    wait_for(looked, "the file is quiet", limit_s=120)
    return found[-1]


def test_new_content_arrives_at_the_server_with_its_payload_and_old_content_does_not(
    project: Settings,
) -> None:
    source = project.root / "data" / f"{DATASET}.parquet"
    assert look(project).outcome == "changed"
    assert look(project).outcome == "unchanged"
    sales = pd.read_parquet(source)
    sales.loc[[0, 1, 2], "price"] += 1
    pd.concat([sales, sales.tail(12).assign(id=range(12))]).to_parquet(source, index=False)
    found = look(project)
    first, second = arrived("dataset.changed")
    assert second["id"] == str(found.event.id)
    assert second["resource"]["prefect.resource.id"] == f"hedonic.dataset.{DATASET}"
    assert second["resource"]["prefect.resource.name"] == DATASET
    payload = second["payload"]
    assert payload["dataset"] == DATASET
    assert payload["previous"] == first["payload"]["snapshot"]
    assert payload["n_rows"] == len(sales) + 12
    assert payload["reason"] == "data changed: +12 rows, 3 changed"
    assert "| changed (same id, other values) | 3 |" in payload["difference"]


def test_the_watcher_as_it_is_started_tells_a_file_that_is_put_there(project: Settings) -> None:
    source = project.root / "data" / f"{DATASET}.parquet"
    look(project)
    known = len(arrived("dataset.changed"))
    environment = os.environ | {
        "PYTHONPATH": f"{project.root / 'src'}:{project.root}",
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "HEDONIC_WATCH__DEBOUNCE_S": "0.2",
    }
    command = [sys.executable, "-m", "tasks.watcher"]
    watcher = subprocess.Popen(command, cwd=project.root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert watcher.stderr is not None
        assert "watching" in watcher.stderr.readline()
        fewer = source.with_name("fewer.parquet")
        pd.read_parquet(source).iloc[:-9].to_parquet(fewer, index=False)
        fewer.replace(source)
        wait_for(lambda: len(arrived("dataset.changed")) > known, "the event arrives", limit_s=60)
    finally:
        watcher.terminate()
    watcher.communicate(timeout=60)
    assert watcher.returncode == 0
    assert arrived("dataset.changed")[-1]["payload"]["summary"].startswith("-9 rows")


def test_an_event_that_is_sent_again_is_there_once(prefect_server: None) -> None:
    event = dataset_event("dataset.unreadable", "cars", "twice", {"problem": "a test"})
    emit(event)
    emit(event)
    assert [found["id"] for found in arrived("dataset.unreadable")] == [str(event.id)]


def test_a_server_that_is_not_there_is_said_to_be(prefect_server: None) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    event = dataset_event("dataset.unreadable", "cars", "nobody", {})
    nobody = temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"})
    with nobody, pytest.raises(NotDelivered, match=r"dataset\.unreadable of cars: .* sent again later"):
        emit(event)


def test_a_run_shows_what_differs_from_the_snapshot_before(project: Settings, tmp_path: Path) -> None:
    contract = load_contract(project.expectations / f"{DATASET}.yaml")
    store, source = SnapshotStore(project.snapshots), project.root / "data" / f"{DATASET}.parquet"
    before = store.ingest(contract, project.root)
    sales = pd.read_parquet(source)
    sales.iloc[5:].to_parquet(source, index=False)
    after = store.ingest(contract, project.root)

    @flow
    def compared(since: str | None) -> Any:
        return show_difference(contract, after, since)

    assert compared(before.digest).summary == "-5 rows"
    shown = Artifact.get(f"difference-{DATASET.replace('_', '-')}")
    assert shown is not None
    assert shown.description == "-5 rows"
    assert "| removed | 5 |" in str(shown.data)
    assert compared(after.digest) is None
    assert compared("0" * 64) is None
    assert compared(None) is None
