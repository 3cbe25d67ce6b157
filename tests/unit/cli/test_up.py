"""`hedonic up` and a data set that has no champion: one training, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedonic.cli.up import _welcome
from hedonic.watching.event import Event
from hedonic.watching.look import look_at
from hedonic.watching.sighting import dataset_file
from tests.contracts import car_contract, car_frame
from tests.watched import make_watched, put, wait_until

CARS = car_contract(source={"uri": "data/cars.parquet"})


def test_a_data_set_that_is_not_to_be_trained_is_no_news_to_the_watcher(tmp_path: Path) -> None:
    settings = make_watched(tmp_path, CARS)
    put(car_frame(), tmp_path / CARS.source.uri)

    def is_known() -> bool:
        told = _welcome(settings, "cars", train=False)
        assert told == "has no champion. Train one: hedonic run cars"
        seen = dataset_file(settings.home, "cars").read()
        return seen is not None and seen.snapshot is not None

    wait_until(is_known, "the file is quiet")
    events: list[Event] = []
    assert look_at(settings, CARS, events.append).outcome == "unchanged"
    assert events == []


def test_a_contract_that_cannot_be_read_is_told_and_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_watched(tmp_path, CARS)
    (settings.expectations / "cars.yaml").write_text("name: cars\n")
    monkeypatch.setattr("hedonic.deployments.request_first_champion", pytest.fail)
    assert _welcome(settings, "cars", train=True).startswith("has no champion. ")
    assert not dataset_file(settings.home, "cars").path.exists()
