"""A home is wiped and restored elsewhere: the same champion, the same aliases, the same answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hedonic.custody.backup import back_up
from hedonic.custody.inspection import inspect
from hedonic.custody.restoration import restore
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.endpoint import start_endpoint
from hedonic.promotion.projection import project
from hedonic.promotion.registry.aliases import CHAMPION
from hedonic.promotion.registry.model_version import link_release, register_version
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.promotion.release import write_release
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from hedonic.tracking import Tracking
from tests.kept_home import DATASET, record, tiny_snapshot
from tests.ports import free_port
from tests.serving.conftest import ROOT
from tests.tiny_release import tiny_content, tiny_model

pytestmark = [pytest.mark.fault, pytest.mark.slow]


def registered(settings: Settings, release: Path, snapshot: Snapshot) -> str:
    """Return the MLflow run of a model version that became a release."""
    run = Tracking(settings, DATASET).start_flow_run("train", {})
    version = register_version(
        settings, release / "model", run_id=run, decision="challenger",
        example=SnapshotStore(settings.snapshots).frame(snapshot), description="tiny",
        figures={"log_rmse": 0.1}, tags={},
    )  # fmt: skip
    link_release(settings, DATASET, version, release.name)
    return run


def test_a_wiped_home_restored_in_another_folder_serves_the_same_champion_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    before = Settings(root=ROOT, home=tmp_path / "before")
    snapshot = tiny_snapshot(before, 0)
    releases = [
        write_release(before.releases, tiny_content(tiny_model(seed=seed), snapshot=snapshot.digest))
        for seed in range(2)
    ]
    run = [registered(before, release, snapshot) for release in releases][-1]
    for release in releases:
        record(before, "promoted", release=release.name)
    project(before, DATASET)
    archive, manifest = back_up(before, LogSettings(), tmp_path / "backup.tar.gz")
    shutil.rmtree(before.home)

    settings = Settings(root=ROOT, home=tmp_path / "after" / "home")
    restored = restore(settings, LogSettings(), archive)
    assert restored.n_moved > 0
    assert manifest.champions == {DATASET: releases[-1].name}
    assert {seen.state for seen in inspect(settings)} == {"ok"}

    client = open_client(settings)
    version = client.get_model_version_by_alias(model_name(DATASET), CHAMPION)
    assert version.tags["hedonic.release"] == releases[-1].name
    for place in (client.get_run(run).info.artifact_uri, version.source):
        assert place.startswith(settings.mlflow_artifacts.as_uri())
    downloaded = Path(client.download_artifacts(run, "", str(tmp_path)))  # what was logged is found
    assert downloaded.is_dir()
    assert Path(version.source.removeprefix("file://"), "MLmodel").is_file()
    Tracking(settings, DATASET).log(run, metrics={"later": 1.0})
    again = registered(settings, settings.releases / DATASET / releases[-1].name, snapshot)  # and runs go on
    assert client.get_run(again).info.artifact_uri.startswith(settings.mlflow_artifacts.as_uri())

    try:
        endpoint = start_endpoint(settings, DATASET, free_port())  # asks every golden row over HTTP
        assert endpoint.release == releases[-1].name
    finally:
        stop_all(settings)
    assert not before.home.exists()
