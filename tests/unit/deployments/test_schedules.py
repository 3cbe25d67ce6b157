"""The nightly schedule as it is declared, asked of Prefect's own schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
import yaml

from tests.project import ROOT

ZONES = ("America/Los_Angeles", "Europe/Berlin", "Europe/Athens", "Australia/Lord_Howe", "America/Santiago")
BEGIN, NIGHTS = date(2026, 11, 20), 730


def deployments() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return found


def nightly() -> dict[str, Any]:
    schedules = [s for one in deployments() if "nightly" in one["tags"] for s in one["schedules"]]
    assert len({schedule["cron"] for schedule in schedules}) == 1
    return schedules[0]


@pytest.mark.parametrize("zone", ZONES)
def test_over_two_years_there_is_one_run_a_night_none_missed_or_doubled(zone: str) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    local = ZoneInfo(zone)
    begin = datetime(BEGIN.year, BEGIN.month, BEGIN.day, tzinfo=local)
    offsets = {(begin + timedelta(days=n)).utcoffset() for n in range(NIGHTS)}
    assert len(offsets) == 2, f"{zone} does not change its clocks"
    schedule = CronSchedule(cron=nightly()["cron"], timezone=zone)
    end = datetime.combine(BEGIN + timedelta(days=NIGHTS), datetime.min.time(), tzinfo=local)
    runs = asyncio.run(schedule.get_dates(n=1000, start=begin, end=end))
    nights = [run.astimezone(local) for run in runs]
    assert [night.date() for night in nights] == [BEGIN + timedelta(days=n) for n in range(NIGHTS)]
    assert {(night.hour, night.minute) for night in nights} == {(4, 30)}


def test_the_declared_time_exists_exactly_once_every_night_in_every_time_zone() -> None:
    minute, hour = (int(field) for field in nightly()["cron"].split()[:2])
    wrong = []
    for zone in sorted(available_timezones()):
        local = ZoneInfo(zone)
        for moment in times(hour, minute):
            first, second = moment.replace(tzinfo=local, fold=0), moment.replace(tzinfo=local, fold=1)
            exists = first.astimezone(UTC).astimezone(local).replace(tzinfo=None) == moment
            if not exists or first.utcoffset() != second.utcoffset():
                wrong.append(f"{zone} {moment}")
    assert wrong == []


def times(hour: int, minute: int) -> Iterator[datetime]:
    for n in range(NIGHTS):
        yield datetime.combine(BEGIN + timedelta(days=n), datetime.min.time()).replace(
            hour=hour, minute=minute
        )


def test_a_later_nightly_run_is_dropped_and_any_other_training_waits() -> None:
    trains = [one for one in deployments() if one["entrypoint"] == "flows/train.py:train"]
    for one in trains:
        expected = "CANCEL_NEW" if one["name"].endswith("-nightly") else "ENQUEUE"
        assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": expected}, one["name"]


def test_every_data_set_trains_by_hand_on_events_and_every_night() -> None:
    by_name = {one["name"]: one for one in deployments() if one["entrypoint"] == "flows/train.py:train"}
    for contract in (ROOT / "expectations").glob("*.yaml"):
        dataset = contract.stem
        assert by_name[f"{dataset}-nightly"]["parameters"]["dataset"] == dataset
        triggers = by_name[dataset]["triggers"]
        assert [trigger["expect"] for trigger in triggers] == [
            ["dataset.changed"],
            ["retrain.requested"],
            ["code.changed"],
        ]
        assert {trigger["parameters"]["dataset"] for trigger in triggers} == {dataset}


def test_every_deployment_says_what_it_is_for_and_is_marked_as_ours() -> None:
    for one in deployments():
        assert len(one["description"]) > 60, one["name"]
        assert "hedonic" in one["tags"], one["name"]
        assert (ROOT / one["entrypoint"].partition(":")[0]).is_file()
