"""The traffic plan, the draw of an arm, and the plan's file."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scipy.stats import binom

from hedonic.errors import UserError
from hedonic.serving.asgi import Exchange
from hedonic.serving.traffic_draw import Draw, request_key
from hedonic.serving.traffic_plan import CHAMPION_KEY, TrafficPlan, parse_plan, plan_in
from hedonic.serving.traffic_plan_file import PlanFile, stop_now
from hedonic.serving.traffic_watch import Watch
from tests.drills import count

ONE, OTHER = "1f" * 32, "e7" * 32
N_KEYS = count(few=2_000, promised=20_000)
CONFIDENCE = 0.999


def plan(**changes):
    return TrafficPlan(
        **{"mode": "canary", "challenger": f"/releases/{ONE}", "release": ONE, "share": 0.1, **changes}
    )


def keys(n=N_KEYS):
    return [f"caller-{number}".encode() for number in range(n)]


@pytest.mark.drill
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("release", [ONE, OTHER])
def test_the_share_of_the_keys_is_within_binomial_bounds(release, share, drill_table):
    draw = Draw(release, share)
    taken = sum(map(draw.takes, keys()))
    low, high = binom.interval(CONFIDENCE, N_KEYS, share)
    assert low <= taken <= high
    if release == ONE:
        drill_table.add(f"request keys at a share of {share:g}", N_KEYS, f"{taken / N_KEYS:.4f} drawn")


def test_who_asks_for_the_champion_by_its_key_is_not_drawn_at_any_share():
    assert not Draw(ONE, 1.0).takes(CHAMPION_KEY.encode())


def test_no_key_is_drawn_at_share_0_and_every_key_at_share_1():
    assert not any(map(Draw(ONE, 0.0).takes, keys(500)))
    assert all(map(Draw(ONE, 1.0).takes, keys(500)))


def test_a_key_keeps_its_arm_in_another_process():
    here = [Draw(ONE, 0.3).takes(key) for key in keys(200)]
    asked = (
        "from hedonic.serving.traffic_draw import Draw;"
        f"print([Draw('{ONE}', 0.3).takes(f'caller-{{n}}'.encode()) for n in range(200)])"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(here)


def test_another_challenger_draws_anew():
    one, other = ([Draw(release, 0.5).takes(key) for key in keys(2000)] for release in (ONE, OTHER))
    same = sum(a == b for a, b in zip(one, other, strict=True))
    low, high = binom.interval(CONFIDENCE, 2000, 0.5)
    assert low <= same <= high


def test_a_greater_share_keeps_the_keys_of_a_smaller_one():
    small, great = Draw(ONE, 0.1), Draw(ONE, 0.2)
    assert all(great.takes(key) for key in keys(2000) if small.takes(key))


def test_the_key_is_the_header_where_it_is_given_else_the_rows():
    named = Exchange(headers={b"x-request-key": b"caller-7"})
    assert request_key(named, b"{}") == request_key(named, b"[]") == b"caller-7"
    assert request_key(Exchange(), b"{}") == b"{}"
    assert request_key(Exchange(headers={b"x-request-key": b""}), b"{}") == b"{}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"share": 1.2}, "share: Input should be less than or equal to 1"),
        ({"mode": "blue"}, "mode: Input should be 'shadow', 'canary' or 'ab'"),
        ({"release": "latest"}, "release: String should match pattern"),
        ({"limits": {"window": 0}}, "limits.window: Input should be greater"),
        ({"format_version": 2}, "format_version: Input should be 1"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_the_place(change, told):
    content = {**plan().model_dump(mode="json"), **change}
    with pytest.raises(UserError, match=rf"plan\.json: not a traffic plan of format 1: .*{told}"):
        parse_plan(json.dumps(content).encode(), "plan.json")


def test_the_digest_is_the_last_part_of_the_uri_unless_it_is_given():
    content = {"mode": "ab", "challenger": f"s3://bucket/releases/{OTHER}/", "share": 0.5}
    assert TrafficPlan.model_validate(content).release == OTHER


def test_a_container_states_the_plan_in_its_environment():
    environment = {
        "HEDONIC_TRAFFIC__MODE": "shadow", "HEDONIC_TRAFFIC__CHALLENGER": f"/releases/{ONE}",
        "HEDONIC_TRAFFIC__SHARE": "0.25", "HEDONIC_TRAFFIC__MAX_ERRORS": "9", "HEDONIC_HOME": "/home",
    }  # fmt: skip
    stated = plan_in(environment)
    assert (stated.mode, stated.release, stated.share, stated.limits.max_errors) == ("shadow", ONE, 0.25, 9)
    assert plan_in({"HEDONIC_HOME": "/home"}) is None


def test_an_environment_that_states_no_plan_is_told_every_problem():
    with pytest.raises(UserError, match="HEDONIC_TRAFFIC__SHARE: .*HEDONIC_TRAFFIC__COLOUR: Extra"):
        plan_in(
            {
                "HEDONIC_TRAFFIC__MODE": "ab",
                "HEDONIC_TRAFFIC__CHALLENGER": f"/{ONE}",
                "HEDONIC_TRAFFIC__SHARE": "much",
                "HEDONIC_TRAFFIC__COLOUR": "red",
            }
        )


def test_a_plan_in_a_file_is_the_plan_and_without_the_file_there_is_none(tmp_path):
    file = PlanFile(tmp_path, "tiny_town")
    assert file.read() is None
    file.write(plan(asked_at=datetime.now(UTC)))
    assert file.read() == plan(asked_at=file.read().asked_at)
    file.remove()
    file.remove()
    assert file.read() is None


def test_a_stop_is_kept_for_its_plan_alone(tmp_path):
    file, asked = PlanFile(tmp_path, "tiny_town"), plan(asked_at=datetime.now(UTC))
    watch = Watch(asked.limits, by_disagreement=True)
    watch.erred()
    file.record_stop(asked, stop_now(asked, "too many errors", watch))
    file.record_stop(plan(share=0.7), stop_now(plan(), "another", watch))
    again = PlanFile(tmp_path, "tiny_town")
    assert again.stop_of(asked).reason == "too many errors"
    assert again.stop_of(asked).errors == 1
    assert again.stop_of(plan(asked_at=asked.asked_at + timedelta(seconds=1))) is None


def test_a_plan_ends_at_its_time():
    now = datetime.now(UTC)
    assert plan(until=now - timedelta(seconds=1)).over
    assert not plan(until=now + timedelta(minutes=1)).over
    assert not plan().over


def test_stops_that_are_written_down_at_once_are_all_kept(tmp_path):
    file = PlanFile(tmp_path, "town")
    plans = [plan(share=n / 100) for n in range(1, 41)]

    def record(asked):
        file.record_stop(asked, stop_now(asked, "too many errors", Watch(asked.limits, by_disagreement=True)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, plans))
    assert all(file.stop_of(asked) for asked in plans)


@pytest.mark.parametrize("before", [None, b'{"what": "is no plan"}'])
def test_a_plan_is_taken_back_unless_another_is_there_by_now(tmp_path, before):
    file = PlanFile(tmp_path, "town")
    if before is not None:
        file.path.parent.mkdir()
        file.path.write_bytes(before)
    assert file.write(plan()) == before
    file.take_back(plan(), before)
    assert (file.path.read_bytes() if file.path.exists() else None) == before
    file.write(plan(share=0.7))
    file.take_back(plan(), before)
    assert file.read() == plan(share=0.7)


def test_a_stop_is_written_down_beside_a_lock_that_is_somebody_elses(tmp_path, monkeypatch):
    file, asked = PlanFile(tmp_path, "town"), plan()
    file.write(asked)
    file.path.with_suffix(".lock").chmod(0o444)
    opened = os.open

    def as_the_service(path, flags, *more, **others):
        """Refuse to open for writing what may only be read, which root is not refused."""
        if flags & os.O_RDWR and Path(path).exists() and not Path(path).stat().st_mode & 0o200:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", as_the_service)
    file.record_stop(asked, stop_now(asked, "too many errors", Watch(asked.limits, by_disagreement=True)))
    assert file.stop_of(asked)
