"""A champion that somebody else rolls out: on record, told with its image, and not waited for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError
from hedonic.external_endpoint import image_to_set
from hedonic.promotion.pointer import read_pointer
from hedonic.roll_out import start_endpoint
from hedonic.rollback.fallback import roll_out_or_fall_back
from hedonic.rollback.refused_champion import start_or_tell, why_not_served
from hedonic.rollback.roll_back import roll_back
from hedonic.settings import Addresses, JobSettings
from tasks.outcome import ask, outcome_of
from tests.rollbacks import DATASET, make_town

IN_A_CLUSTER = {
    "roll_out": "external",
    "work_pool": "kubernetes",
    "job": JobSettings(namespace="prices"),
    # Nothing listens there: whoever waits for it fails.
    "services": Addresses(endpoint="http://127.0.0.1:9"),
}
COMMAND = "kubectl -n prices set image deployment/endpoint-tiny-town endpoint-tiny-town=REGISTRY/"


@pytest.fixture
def town(tmp_path):
    return make_town(tmp_path / "town", n_releases=3)


def test_nothing_is_waited_for_and_the_sentence_names_the_image_and_the_command(town):
    settings = town.settings.model_copy(update=IN_A_CLUSTER)
    endpoint = start_endpoint(settings, DATASET, town.port)
    assert (endpoint.release, endpoint.pid) == (town.champion, None)
    assert COMMAND in endpoint.to_do
    assert f"hedonic image {DATASET} --push REGISTRY/hedonic-{DATASET}" in endpoint.to_do


def test_the_image_is_named_as_the_champions_bento():
    settings = SimpleNamespace(work_pool="kubernetes", job=JobSettings())
    told = image_to_set(settings, "king_county", "r" * 64, "hedonic-king_county:0123456789abcdef")
    assert told.endswith(
        "kubectl -n hedonic set image deployment/endpoint-king-county "
        "endpoint-king-county=REGISTRY/hedonic-king_county:0123456789abcdef"
    )


def test_the_record_of_a_promotion_stands_and_the_run_ends_with_the_sentence(town, monkeypatch):
    settings, before = town.settings.model_copy(update=IN_A_CLUSTER), town.champion
    endpoint = roll_out_or_fall_back(settings, town.contract, flow_run="f-1")
    assert town.champion == before
    assert ask.fn(town.contract, endpoint) is None
    monkeypatch.setattr("tasks.outcome.load_settings", lambda: settings)
    record = town.history.champion(DATASET)
    result = outcome_of(town.contract, record, None, unchanged=False)
    assert (result.outcome, result.endpoint, result.prediction) == ("promoted", None, None)
    assert COMMAND in result.to_do
    assert outcome_of(town.contract, record, None, unchanged=True).to_do is None


def test_where_we_roll_out_nothing_is_left_to_do(town, monkeypatch):
    monkeypatch.setattr("tasks.outcome.load_settings", lambda: town.settings)
    record = town.history.champion(DATASET)
    assert outcome_of(town.contract, record, {"predictions": []}, unchanged=False).to_do is None
    assert Endpoint(DATASET, "http://127.0.0.1:9", 1, "r", None).to_do is None


def test_a_champion_whose_files_are_damaged_is_not_told_to_be_set(town):
    settings = town.settings.model_copy(update=IN_A_CLUSTER)
    golden = town.releases[2] / "golden.json"
    golden.write_bytes(golden.read_bytes()[:-20])
    with pytest.raises(HedonicError, match=r"golden\.json: changed"):
        start_endpoint(settings, DATASET, town.port)


def test_a_roll_back_is_on_record_and_told_likewise(town):
    settings = town.settings.model_copy(update=IN_A_CLUSTER)
    done = roll_back(settings, town.contract, reason="prices too high")
    assert done.record.release == town.champion == town.releases[1].name
    assert read_pointer(settings.home, DATASET).release == town.champion
    assert COMMAND in done.to_do


def test_an_endpoint_that_serves_the_release_before_is_told_with_the_command(town, monkeypatch):
    settings = town.settings.model_copy(update=IN_A_CLUSTER)
    answers = {"model": {"release": town.releases[0].name}}
    monkeypatch.setattr("hedonic.rollback.refused_champion.endpoint_info", lambda *_: answers)
    champion = town.history.champion(DATASET)
    assert COMMAND in why_not_served(settings, town.contract, champion)
    answers["model"]["release"] = champion.release
    assert why_not_served(settings, town.contract, champion) is None
    assert COMMAND in start_or_tell(settings, town.contract).to_do
