"""MLflow against the history, on a real store: what was moved by hand is told, and then repaired."""

from __future__ import annotations

from contextlib import closing

import pytest

from hedonic.errors import HedonicError
from hedonic.monitoring.alerts import AlertBook
from hedonic.monitoring.repair import repair, require_repaired
from hedonic.promotion.agreement import disagreements
from hedonic.promotion.history import Entry, WrongEnvironment, open_history
from hedonic.promotion.pointer import pointer_path, read_pointer
from hedonic.promotion.registry import model_version
from hedonic.promotion.registry.store import has_store, open_client
from hedonic.settings import Settings

# A real store of the vendor's: make test, not make check.
pytestmark = pytest.mark.slow

A, B = "a" * 64, "b" * 64
DATASET = "village"
NAME = f"hedonic-{DATASET}"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One MLflow store for the module: making one costs seconds."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, root=home)
    open_client(settings)
    return settings


@pytest.fixture
def settings(store):
    """A registered model with version 1 of release A and version 2 of release B, and a history of nothing."""
    files = [*store.home.glob("history.db*"), store.home / "alerts.jsonl", pointer_path(store.home, DATASET)]
    for path in files:
        path.unlink(missing_ok=True)
    client = open_client(store)
    if client.search_registered_models(f"name = '{NAME}'"):
        client.delete_registered_model(NAME)
    client.create_registered_model(NAME)
    for release in (A, B):
        tags = {model_version.TAG_RELEASE: release, model_version.TAG_STATUS: "challenger"}
        client.create_model_version(NAME, source=store.home.as_uri(), tags=tags)
    return store


def append(settings, kind, release, expected):
    with closing(open_history(settings)) as history:
        entry = Entry(dataset=DATASET, kind=kind, release=release, actor="ana", reason="x")
        return history.append(entry, expected_champion=expected)


def differing(settings):
    with closing(open_history(settings)) as history:
        return disagreements(settings, history, DATASET)


def alias(settings, name="champion"):
    version = open_client(settings).get_registered_model(NAME).aliases.get(name)
    return None if version is None else str(version)


def open_alerts(settings):
    return [alert.kind for alert in AlertBook(settings).open()]


def test_after_a_repair_alias_pointer_and_head_say_what_the_history_says(settings):
    append(settings, "promoted", A, None)
    assert [one.kind for one in repair(settings, DATASET)] == ["registry-behind"]
    head = append(settings, "promoted", B, A)
    assert [one.kind for one in differing(settings)] == ["registry-behind"]
    repair(settings, DATASET)
    assert differing(settings) == repair(settings, DATASET) == ()
    assert alias(settings) == "2"
    assert read_pointer(settings.home, DATASET).release == B
    tags = open_client(settings).get_registered_model(NAME).tags
    assert tags["hedonic.history.head"] == f"{head.seq}:{head.hash}"
    assert open_alerts(settings) == []


@pytest.mark.parametrize("to", ["2", None])
def test_an_alias_moved_by_hand_is_told_and_put_back_at_the_next_start_and_the_same_is_served(settings, to):
    append(settings, "promoted", A, None)
    repair(settings, DATASET)
    client = open_client(settings)
    if to is None:
        client.delete_registered_model_alias(NAME, "champion")
    else:
        client.set_registered_model_alias(NAME, "champion", to)
    (found,) = differing(settings)
    assert found.kind == "alias-moved"
    on = "version 2" if to else "no version"
    assert f"alias champion is on {on}, and the champion is version 1: it was moved by hand" in found.sentence
    assert alias(settings) == to  # to look repairs nothing
    assert read_pointer(settings.home, DATASET).release == A
    assert repair(settings, DATASET) == (found,)
    assert alias(settings) == "1"
    assert read_pointer(settings.home, DATASET).release == A
    assert open_alerts(settings) == ["alias-moved"]
    assert repair(settings, DATASET) == ()
    assert open_alerts(settings) == []


def test_a_history_that_lost_records_is_told_and_believed_in_nothing(settings):
    append(settings, "promoted", A, None)
    head = append(settings, "promoted", B, A)
    repair(settings, DATASET)
    for path in settings.home.glob("history.db*"):
        path.unlink()
    append(settings, "promoted", A, None)  # another first record: another hash
    (found,) = differing(settings)
    assert found.kind == "history-truncated"
    assert f"record {head.seq} of the history is missing" in found.sentence
    assert repair(settings, DATASET) == (found,)
    assert open_alerts(settings) == ["history-truncated"]
    # What is served, the alias and the evidence stay.
    assert read_pointer(settings.home, DATASET).release == B
    assert alias(settings) == "2"
    with pytest.raises(HedonicError, match="Restore the history from a backup"):
        require_repaired(settings, DATASET)
    append(settings, "promoted", B, A)
    assert f"record {head.seq} of the history is another one" in differing(settings)[0].sentence


def test_a_rejected_release_is_no_challenger_in_mlflow_either(settings):
    append(settings, "promoted", A, None)
    append(settings, "parked", B, A)
    repair(settings, DATASET)
    assert alias(settings, "challenger") == "2"
    append(settings, "rejected", B, A)
    repair(settings, DATASET)
    assert alias(settings, "challenger") is None


def test_a_process_of_another_environment_is_refused_at_its_start(settings):
    append(settings, "promoted", A, None)
    staging = settings.model_copy(update={"environment_name": "staging"})
    with pytest.raises(WrongEnvironment, match="is that of production, and this process is of staging"):
        require_repaired(staging, DATASET)
    require_repaired(settings, DATASET)


def test_without_a_store_of_mlflow_the_pointer_alone_is_repaired(tmp_path):
    settings = Settings(home=tmp_path, root=tmp_path)
    append(settings, "promoted", A, None)
    assert repair(settings, DATASET) == ()
    assert read_pointer(tmp_path, DATASET).release == A
    assert not has_store(settings)
