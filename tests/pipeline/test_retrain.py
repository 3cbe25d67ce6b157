"""Retraining on a machine that begins with nothing: a worse model never ships, least of all unseen."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hedonic.promotion.history import History
from tests.pipeline.trees import lend, make
from tests.ports import free_port
from tests.project import ROOT, make_project, write_contract

pytestmark = pytest.mark.slow

DATASET = "small_county"
RIDGE = {"ridge": {"alpha": {"low": 0.1, "high": 100, "log": True}}}
# A naive family and loose limits: what comes of it is no better than the champion, which alone says so.
DEGRADED = {"median": {}}
LOOSE = {"limits": [{"metric": "mdape_pct", "maximum": 90}]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return a project, and what its runners share: a champion that a first of them released."""
    folder = tmp_path_factory.mktemp("retrain")
    settings = make_project(folder / "project", gate=LOOSE, port=free_port())
    for name in ("Makefile", "delivery"):
        (settings.root / name).symlink_to(ROOT / name)
    for environment in (".venv", ".checks"):
        lend(settings.root, environment)
    places = {
        "HEDONIC_HISTORY_URL": f"sqlite:///{folder / 'shared.db'}",
        "HEDONIC_STORE_URL": str(folder / "store"),
    }
    first = retrain(settings, folder / "first", RIDGE, BOOTSTRAP="true", **places)
    make(settings.root, "down", HEDONIC_HOME=str(folder / "first"))
    return SimpleNamespace(settings=settings, folder=folder, places=places, first=first)


def retrain(settings, home, families, **environment):
    """Return what came of the target on a runner with a fresh home, and the verdict that it wrote, if any."""
    write_contract(settings.root, gate=LOOSE, search={"trials": 1, "folds": 2, "families": families})
    (settings.root / "retrain.json").unlink(missing_ok=True)
    done = make(settings.root, "retrain", DATASET=DATASET, HEDONIC_HOME=str(home), **environment)
    lines = (
        (settings.root / "retrain.json").read_text().splitlines()
        if (settings.root / "retrain.json").exists()
        else []
    )
    return SimpleNamespace(
        code=done.returncode, said=done.stdout + done.stderr, told=json.loads(lines[-1]) if lines else None
    )


def champion(shared):
    history = History(shared.places["HEDONIC_HISTORY_URL"])
    try:
        return history.champion(DATASET).release
    finally:
        history.close()


def test_the_first_champion_is_asked_for_and_handed_over(shared):
    first = shared.first
    assert first.code == 0, first.said
    assert first.told["outcome"] == "promoted"
    assert champion(shared) == first.told["release"]
    assert (shared.folder / "store" / DATASET / first.told["release"] / "manifest.json").is_file()


def test_a_degraded_model_is_red_against_the_champion_that_was_pulled(shared):
    degraded = retrain(shared.settings, shared.folder / "second", DEGRADED, **shared.places)
    assert degraded.code != 0
    assert degraded.told["outcome"] in ("kept", "refused")
    assert degraded.told["release"] is None
    assert "better" in {finding["check"] for finding in degraded.told["verdict"]["reasons"]}
    assert champion(shared) == shared.first.told["release"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"HEDONIC_STORE_URL": "{folder}/unmounted"}, "cannot be copied from the store"),
        ({"HEDONIC_HISTORY_URL": "sqlite:///{folder}/unmounted.db"}, "there is no such file"),
        ({"HEDONIC_HISTORY_URL": ""}, "HEDONIC_HISTORY_URL not set"),
    ],
)
def test_a_degraded_model_is_red_where_the_champion_cannot_be_reached_and_nothing_is_trained(
    shared, change, told
):
    places = shared.places | {name: value.format(folder=shared.folder) for name, value in change.items()}
    home = shared.folder / f"cut-off-{abs(hash(told))}"
    cut_off = retrain(shared.settings, home, DEGRADED, **places)
    assert cut_off.code != 0
    assert told in cut_off.said
    assert cut_off.told is None
    assert not (home / "candidates").exists()
    assert not (home / "history.db").exists()
    assert champion(shared) == shared.first.told["release"]
