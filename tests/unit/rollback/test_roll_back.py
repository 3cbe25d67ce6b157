"""A roll-back changes nothing before its target is verified, and is undone where it is not served rightly."""

from __future__ import annotations

import socket
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.model.manifest import Golden
from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.pointer import pointer_path, read_pointer
from hedonic.promotion.projection import project
from hedonic.promotion.record import Entry
from hedonic.promotion.release import write_release
from hedonic.rollback import fallback as fallback_module
from hedonic.rollback import roll_back as roll_back_module
from hedonic.rollback.fallback import ask_or_fall_back, roll_out_or_fall_back
from hedonic.rollback.roll_back import find_rollback, follow_up, roll_back, roll_out
from hedonic.rollback.switch import switch
from tests.rollbacks import DATASET, make_town
from tests.tiny_release import tiny_content


@pytest.fixture
def town(tmp_path):
    return make_town(tmp_path / "town", n_releases=3)


@pytest.fixture
def endpoint(town, monkeypatch):
    """An endpoint that serves what the pointer names, but for the releases that it is told to refuse."""
    told = SimpleNamespace(refuses={}, served=[], stays=[])

    def start(settings, dataset, port, *, stays=False):
        release = read_pointer(settings.home, dataset).release
        told.stays.append(stays)
        if release in told.refuses:
            raise told.refuses[release]
        told.served.append(release)
        return Endpoint(dataset, f"http://127.0.0.1:{port}", 1, release, None)

    monkeypatch.setattr(roll_back_module, "start_endpoint", start)
    monkeypatch.setattr(fallback_module, "start_endpoint", start)
    return told


def open_alerts(town):
    return {alert.key: (alert.severity, alert.text) for alert in AlertBook(town.settings).open()}


def names(town, *numbers):
    return [town.releases[n].name for n in numbers]


def test_the_champion_before_serves_again_and_the_record_says_who_why_and_what(town, endpoint):
    done = roll_back(town.settings, town.contract, reason="prices too high", flow_run="f-1")
    old, new = names(town, 1, 2)
    assert (done.left, done.record.release, endpoint.served) == (new, old, [old])
    assert town.champion == old == read_pointer(town.settings.home, DATASET).release
    record = town.history.records(DATASET)[-1]
    assert (record.kind, record.reason, record.flow_run) == ("rolled_back", "prices too high", "f-1")
    assert record.figures == {"log_rmse": 0.19}
    assert record.actor
    assert town.history.verify_chain() == ()


def test_two_in_a_row_go_back_two_champions(town, endpoint):
    for _ in range(2):
        roll_back(town.settings, town.contract, reason="x")
    assert endpoint.served == names(town, 1, 0)
    with pytest.raises(UserError, match="no champion before"):
        roll_back(town.settings, town.contract, reason="x")


def test_it_is_told_as_news_and_settles_what_made_it_needful(town, endpoint):
    fallback_module.tell_not_fallen_back(town.settings, DATASET, "nothing works.")
    assert open_alerts(town) == {
        "rollback-failed:tiny_town": (
            "critical",
            "nothing works. Name another: hedonic rollback tiny_town --to VERSION",
        )
    }
    follow_up(town.settings, roll_back(town.settings, town.contract, "1", reason="by hand"))
    assert open_alerts(town) == {}
    (news, _) = AlertBook(town.settings).recent(2)
    assert (news.kind, news.severity) == ("rolled-back", "info")
    assert not (town.settings.home / "mlflow").exists()  # where nothing was registered nothing is made


def test_from_a_history_that_lost_a_record_nobody_goes_back(town, endpoint):
    project(town.settings, DATASET)
    town.crown(0)
    project(town.settings, DATASET)
    with sqlite3.connect(town.settings.home / "history.db") as store:
        store.execute("DROP TRIGGER hedonic_history_no_delete")
        store.execute("DELETE FROM hedonic_history WHERE seq = 4")
    before = (len(town.history.records()), pointer_path(town.settings.home, DATASET).read_bytes())
    with pytest.raises(HedonicError, match="tiny_town: record 4 of the history is missing"):
        roll_back(town.settings, town.contract, reason="x")
    assert (len(town.history.records()), pointer_path(town.settings.home, DATASET).read_bytes()) == before
    assert endpoint.served == []


def damage_files(town):
    (town.releases[1] / "golden.json").write_text("{}")


def damage_model(town):
    trees = town.releases[1] / "model" / "point" / "trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=9", 1))


def swap_releases(town):
    for path in town.releases[0].rglob("*.txt"):
        (town.releases[1] / path.relative_to(town.releases[0])).write_bytes(path.read_bytes())


@pytest.mark.parametrize("damage", [damage_files, damage_model, swap_releases])
def test_a_damaged_target_is_refused_by_name_and_nothing_changes(town, endpoint, damage):
    damage(town)
    before = (town.champion, pointer_path(town.settings.home, DATASET).read_bytes())
    with pytest.raises(ReleaseRefused, match=f"release {town.releases[1].name}: .*: changed") as caught:
        roll_back(town.settings, town.contract, reason="prices too high")
    assert caught.value.exit_code == 1
    assert (town.champion, pointer_path(town.settings.home, DATASET).read_bytes()) == before
    assert endpoint.served == []
    attempt = town.history.records(DATASET)[-1]
    assert (attempt.kind, attempt.release, attempt.reason) == (
        "failed",
        town.releases[1].name,
        "prices too high",
    )
    assert attempt.failure == str(caught.value)


def test_a_target_whose_golden_rows_are_answered_otherwise_is_refused(town, endpoint):
    content = tiny_content()
    answers = tuple({**answer, "estimate": 1.0} for answer in content.golden.answers)
    golden = Golden(instances=content.golden.instances, answers=answers)
    wrong = write_release(town.settings.releases, replace(content, golden=golden))
    champion = town.champion
    for release in (wrong.name, champion):
        entry = Entry(dataset=DATASET, kind="promoted", release=release, actor="ana", reason="x")
        town.history.append(entry, expected_champion=town.champion)
    with pytest.raises(ReleaseRefused, match="golden answers differ"):
        roll_back(town.settings, town.contract, reason="x")
    assert (town.champion, endpoint.served) == (champion, [])


def test_a_target_whose_bento_is_gone_is_refused(tmp_path, endpoint):
    town = make_town(tmp_path / "other", n_releases=2, promoted=0)
    town.crown(0, bento="hedonic-tiny_town:0123456789abcdef")
    town.crown(1)
    with pytest.raises(ReleaseRefused, match="bento hedonic-tiny_town:0123456789abcdef: not in"):
        roll_back(town.settings, town.contract, reason="x")
    assert town.champion == town.releases[1].name


def test_a_port_that_something_else_holds_is_told_before_anything_changes(town, endpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", town.port))
        taken.listen()
        with pytest.raises(
            UserError, match=rf"port {town.port} on 127.0.0.1: in use by .*Nothing was changed"
        ):
            roll_back(town.settings, town.contract, reason="x")
    assert (town.champion, endpoint.served) == (town.releases[2].name, [])


def test_a_target_that_is_not_served_rightly_is_left_again_and_the_attempt_stays_on_record(town, endpoint):
    old, new = names(town, 1, 2)
    endpoint.refuses[old] = HedonicError("the endpoint: golden row 0: got 1.0\nits log:\nlong")
    with pytest.raises(
        HedonicError, match=f"golden row 0.*\n(?s:.*)Release {new[:16]}, .* is champion again"
    ):
        roll_back(town.settings, town.contract, reason="x")
    assert town.champion == new == read_pointer(town.settings.home, DATASET).release
    assert endpoint.served == [new]
    attempt, undone, failure = town.history.records(DATASET)[-3:]
    assert [(r.kind, r.release) for r in (attempt, undone, failure)] == [
        ("rolled_back", old),
        ("rolled_back", new),
        ("failed", old),
    ]
    assert failure.failure.startswith("the endpoint: golden row 0: got 1.0\nits log:\nlong Release")
    assert failure.reason == "x"
    assert undone.reason == (
        f"by itself: release {old[:16]} was not served rightly: the endpoint: golden row 0: got 1.0"
    )
    assert open_alerts(town)["rolled-back:tiny_town"][0] == "warning"
    # The failed attempt changed no line: the next one goes to the same target.
    assert find_rollback(town.settings, town.contract, None).target.release == old


def test_where_the_champion_before_is_damaged_by_then_both_reasons_are_told(town, endpoint):
    old = town.releases[1].name
    endpoint.refuses[old] = HedonicError("it ended while starting.")
    (town.releases[2] / "golden.json").write_text("{}")
    with pytest.raises(HedonicError, match="ended while starting.*could not come back.*golden.json: changed"):
        roll_back(town.settings, town.contract, reason="x")
    assert town.champion == old
    assert open_alerts(town)["rollback-failed:tiny_town"][0] == "critical"


def test_a_champion_of_the_meantime_is_not_rolled_back(town, endpoint):
    plan = find_rollback(town.settings, town.contract, "1")
    town.crown(1)
    with pytest.raises(HedonicError, match="is not champion any more, so nothing was rolled back"):
        switch(town.settings, plan, reason="x", flow_run=None)
    assert town.champion == town.releases[1].name


def test_a_flow_run_that_is_started_again_does_not_switch_twice(town, endpoint):
    plan = find_rollback(town.settings, town.contract, None)
    first = switch(town.settings, plan, reason="x", flow_run="f-1")
    pointer_path(town.settings.home, DATASET).unlink()  # it was killed before the pointer followed
    assert switch(town.settings, plan, reason="x", flow_run="f-1") == first
    assert read_pointer(town.settings.home, DATASET).release == plan.target.release
    with pytest.raises(HedonicError, match="not champion any more"):
        switch(town.settings, plan, reason="x", flow_run="f-2")


def test_a_flow_run_that_is_tried_again_after_it_fell_back_switches_again(town, endpoint):
    plan = find_rollback(town.settings, town.contract, None)
    endpoint.refuses[plan.target.release] = HedonicError("not yet.")
    first = switch(town.settings, plan, reason="x", flow_run="f-1")
    with pytest.raises(HedonicError, match="not yet. Release .* is champion again"):
        roll_out(town.settings, town.contract, plan, reason="x", flow_run="f-1")
    endpoint.refuses.clear()
    second = switch(town.settings, plan, reason="x", flow_run="f-1")
    assert second.seq > first.seq
    assert (
        roll_out(town.settings, town.contract, plan, reason="x", flow_run="f-1").release
        == plan.target.release
    )


def test_a_champion_that_came_after_the_switch_is_not_taken_for_the_target(town, endpoint):
    plan = find_rollback(town.settings, town.contract, None)
    switch(town.settings, plan, reason="x", flow_run=None)
    town.crown(0)
    with pytest.raises(HedonicError, match=f"release {town.releases[0].name[:16]} became champion since"):
        roll_out(town.settings, town.contract, plan, reason="x", flow_run=None)
    assert town.champion == town.releases[0].name


def test_one_that_was_killed_between_record_and_pointer_is_finished_and_goes_no_further(
    town, endpoint, monkeypatch
):
    monkeypatch.setattr("hedonic.rollback.switch.project_pointer", lambda *_: None)
    switch(town.settings, find_rollback(town.settings, town.contract, None), reason="x", flow_run=None)
    assert read_pointer(town.settings.home, DATASET).release == town.releases[2].name
    with pytest.raises(HedonicError, match="was interrupted before its endpoint was told. It is told now"):
        roll_back(town.settings, town.contract, reason="x")
    assert town.champion == town.releases[1].name == read_pointer(town.settings.home, DATASET).release


def test_a_new_champion_that_is_not_served_gives_way_to_the_one_before(town, endpoint):
    old, new = names(town, 1, 2)
    endpoint.refuses[new] = ReleaseRefused("refused, and release x is still served: golden answers differ.")
    with pytest.raises(HedonicError, match=f"golden answers differ. Release {old[:16]}, .* serves"):
        roll_out_or_fall_back(town.settings, town.contract, flow_run="f-9")
    assert (town.champion, endpoint.served) == (old, [old])
    record = town.history.records(DATASET)[-1]
    assert (record.kind, record.flow_run) == ("rolled_back", "f-9")
    assert "was not served rightly: refused, and release x" in record.reason
    assert endpoint.stays == [True, False]
    assert set(open_alerts(town)) == {"rolled-back:tiny_town"}


def test_a_new_champion_that_is_served_stays(town, endpoint):
    assert roll_out_or_fall_back(town.settings, town.contract, flow_run=None).release == names(town, 2)[0]
    assert town.champion == names(town, 2)[0]
    assert open_alerts(town) == {}


def test_the_first_champion_has_nothing_to_fall_back_to(tmp_path, endpoint):
    town = make_town(tmp_path / "first", n_releases=1)
    endpoint.refuses[town.releases[0].name] = ReleaseRefused("not ready")
    with pytest.raises(ReleaseRefused, match="^not ready$"):
        roll_out_or_fall_back(town.settings, town.contract, flow_run=None)
    assert (town.told()[-1][0], endpoint.stays) == ("promoted", [False])


def test_a_port_in_use_is_no_fault_of_the_champions(town, endpoint):
    endpoint.refuses[town.releases[2].name] = UserError("port 3000: in use")
    with pytest.raises(UserError, match="in use"):
        roll_out_or_fall_back(town.settings, town.contract, flow_run=None)
    assert town.champion == town.releases[2].name


def test_an_answer_that_fails_after_the_roll_out_brings_the_champion_before_back(town, endpoint, monkeypatch):
    def fail(*_):
        raise HedonicError("/predict answered 500.")

    monkeypatch.setattr(fallback_module, "ask", fail)
    with pytest.raises(HedonicError, match="answered 500. Release .* is champion again and serves"):
        ask_or_fall_back(town.settings, town.contract, flow_run=None)
    assert (town.champion, endpoint.served) == (town.releases[1].name, names(town, 1))


def test_a_champion_that_another_made_meanwhile_is_not_taken_back(town, endpoint, monkeypatch):
    def fail(*_):
        town.crown(0)
        raise HedonicError("too late.")

    monkeypatch.setattr(fallback_module, "ask", fail)
    with pytest.raises(HedonicError, match=r"too late\..*could not come back: .*not champion any more"):
        ask_or_fall_back(town.settings, town.contract, flow_run=None)
    assert town.champion == town.releases[0].name
