"""A look at a source: new content is told once, whatever happens to the file or to the watcher."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hedonic.data.contract import Contract
from hedonic.promotion.history import Entry, History
from hedonic.settings import Settings
from hedonic.watching.event import Event, NotDelivered
from hedonic.watching.look import Look, look_at, take_note
from tests.contracts import car_contract, car_frame
from tests.waiting import wait_for
from tests.watched import DEBOUNCE_S, make_watched, put

BIKES = car_contract(source={"uri": "data/cars.csv"})
CARS = car_contract(source={"uri": "data/cars.parquet"})


class Town:
    """A project with one data set, and what was told about it."""

    def __init__(self, root: Path, contract: Contract, **watch: float) -> None:
        self.settings = make_watched(root, contract, **watch)
        self.contract = contract
        self.file = root / contract.source.uri
        self.told: list[Event] = []

    def look(self) -> Look:
        """Look once the file is quiet."""
        looks: list[Look] = []

        def looked() -> bool:
            looks.append(look_at(self.settings, self.contract, self.told.append))
            return "is being written" not in looks[-1].told

        wait_for(looked, "the file is quiet")
        return looks[-1]

    def names(self) -> list[str]:
        return [event.name for event in self.told]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path, CARS)


def judge(settings: Settings, snapshot: str) -> None:
    """Put a verdict on a snapshot into the history."""
    settings.home.mkdir(exist_ok=True)
    History(settings.history).append(
        Entry(dataset="cars", kind="kept", snapshot=snapshot, actor="a test", reason="a test")
    )


def test_new_content_is_told_with_what_differs(town: Town) -> None:
    put(car_frame(), town.file)
    assert town.look().outcome == "changed"
    put(car_frame().assign(age=1.5).iloc[:200], town.file)
    found = town.look()
    first, second = town.told
    assert found.event == second
    assert (second.name, second.resource) == ("dataset.changed", "hedonic.dataset.cars")
    assert second.payload["previous"] == first.payload["snapshot"] != second.payload["snapshot"]
    assert (second.payload["n_rows_before"], second.payload["n_rows"]) == (300, 200)
    assert (second.payload["added"], second.payload["removed"]) == (200, 300)
    assert str(second.payload["reason"]).startswith("data changed: +200 rows, -300 rows")
    assert "| age |" in str(second.payload["difference"])


def test_content_that_was_taken_note_of_is_no_news_and_what_comes_after_it_is(town: Town) -> None:
    put(car_frame(), town.file)
    wait_for(lambda: take_note(town.settings, CARS).outcome == "changed", "it is taken note of")
    assert town.look().outcome == "unchanged"
    assert town.told == []
    put(car_frame(200), town.file)
    assert town.look().outcome == "changed"
    assert town.names() == ["dataset.changed"]
    assert str(town.told[0].payload["summary"]).startswith("+200 rows, -300 rows")


def test_taking_note_takes_back_news_that_was_not_delivered_and_keeps_a_complaint(town: Town) -> None:
    def nobody(_event: Event) -> None:
        raise NotDelivered("nobody listens")

    put(car_frame(), town.file)
    with pytest.raises(NotDelivered, match="nobody listens"):
        wait_for(lambda: look_at(town.settings, CARS, nobody).outcome == "changed", "it is looked at")
    take_note(town.settings, CARS)
    assert town.look().outcome == "unchanged"
    assert town.told == []
    town.file.write_bytes(b"no table")
    wait_for(lambda: take_note(town.settings, CARS).outcome == "unreadable", "it is given up")
    town.look()
    assert town.names() == ["dataset.unreadable"]


def test_other_content_of_a_pinned_source_is_told_with_the_fix_and_is_news_once_the_pin_is_gone(
    town: Town,
) -> None:
    put(car_frame(), town.file)
    pin = hashlib.sha256(town.file.read_bytes()).hexdigest()
    town.contract = car_contract(source={"uri": "data/cars.parquet", "sha256": pin})
    assert town.look().outcome == "changed"
    put(car_frame(200), town.file)
    wait_for(lambda: town.look().outcome == "unreadable", "it is given up")
    assert town.names() == ["dataset.changed", "dataset.unreadable"]
    assert "or remove it to train on whatever the source holds" in str(town.told[1].payload["problem"])
    town.contract = CARS
    assert town.look().outcome == "changed"
    assert town.names() == ["dataset.changed", "dataset.unreadable", "dataset.changed"]


def test_nothing_is_told_twice(town: Town) -> None:
    put(car_frame(), town.file)
    outcomes = [town.look().outcome for _ in range(3)]
    assert outcomes == ["changed", "unchanged", "unchanged"]
    assert len(town.told) == 1


def test_a_touch_other_row_groups_other_metadata_and_a_new_name_are_no_change(town: Town) -> None:
    frame = car_frame()
    put(frame, town.file)
    town.look()
    town.file.touch()
    assert town.look().outcome == "unchanged"
    put(frame, town.file, row_group_size=17, compression="gzip")
    assert town.look().outcome == "unchanged"
    table = pa.Table.from_pandas(frame).replace_schema_metadata({b"written": b"by hand"})
    pq.write_table(table, town.file)
    assert town.look().outcome == "unchanged"
    os.replace(put(frame, town.file.with_name("new.parquet")), town.file)
    assert town.look().outcome == "unchanged"
    assert len(town.told) == 1


def test_content_that_comes_back_is_no_news(town: Town) -> None:
    for n_rows in (300, 200, 300):
        put(car_frame(n_rows), town.file)
        found = town.look()
    assert found.outcome == "known"
    assert [event.payload["n_rows"] for event in town.told] == [300, 200]


def test_content_that_the_history_has_judged_is_recorded_without_an_event(town: Town, tmp_path: Path) -> None:
    put(car_frame(), town.file)
    elsewhere = Town(tmp_path / "elsewhere", CARS)
    put(car_frame(), elsewhere.file)
    elsewhere.look()
    judge(town.settings, str(elsewhere.told[0].payload["snapshot"]))
    assert town.look().outcome == "known"
    assert town.told == []
    put(car_frame(200), town.file)
    town.look()
    assert str(town.told[0].payload["summary"]).startswith("+200 rows, -300 rows")


def look_in_vain(town: Town, n_rows: int) -> Event:
    """Return the event about so many rows, which was emitted to no avail."""
    record = town.settings.home / "watch" / "cars.json"
    tried: list[Event] = []

    def fail(event: Event) -> None:
        waiting = json.loads(record.read_text())["announcing"]
        assert str(event.id) in [other["id"] for other in waiting]
        tried.append(event)
        raise NotDelivered("no server")

    def is_tried() -> bool:
        with contextlib.suppress(NotDelivered):
            look_at(town.settings, town.contract, fail)
        return bool(tried) and tried[-1].payload["n_rows"] == n_rows

    wait_for(is_tried, "the event is emitted")
    return tried[-1]


def test_what_is_told_is_recorded_before_and_told_again_after_a_failure_under_its_id(town: Town) -> None:
    put(car_frame(), town.file)
    tried = look_in_vain(town, 300)
    assert town.look().outcome == "unchanged"
    assert town.told == [tried]
    record = json.loads((town.settings.home / "watch" / "cars.json").read_text())
    assert record["announcing"] == []
    assert record["announced"]["id"] == str(tried.id)


def test_of_two_changes_that_could_not_be_told_the_later_is(town: Town) -> None:
    for n_rows in (300, 200):
        put(car_frame(n_rows), town.file)
        look_in_vain(town, n_rows)
    town.look()
    assert [event.payload["n_rows"] for event in town.told] == [200]


@pytest.mark.parametrize("contract", [CARS, BIKES], ids=["parquet", "csv"])
def test_a_half_written_file_is_left_alone(tmp_path: Path, contract: Contract) -> None:
    town = Town(tmp_path, contract, patience_s=60)
    put(car_frame(), town.file)
    town.look()
    content = put(car_frame(500), town.file.with_name(f"next{town.file.suffix}")).read_bytes()
    with town.file.open("wb") as writer:
        writer.write(content[: len(content) // 2])
        writer.flush()
        assert look_at(town.settings, contract, town.told.append).outcome == "waiting"
    assert town.look().outcome == "waiting"
    assert town.look().outcome == "waiting"
    town.file.write_bytes(content)
    assert town.look().outcome == "changed"
    assert [event.payload["n_rows"] for event in town.told] == [300, 500]


def test_a_csv_of_whole_lines_is_left_alone_while_its_writer_holds_it_open(tmp_path: Path) -> None:
    town = Town(tmp_path, BIKES)
    with put(car_frame(), town.file).open("a") as writer:
        wait_for(lambda: time.time() - town.file.stat().st_ctime > 2 * DEBOUNCE_S, "the file is quiet")
        assert look_at(town.settings, BIKES, town.told.append).outcome == "waiting"
        writer.write(car_frame(5).to_csv(index=False, header=False))
    assert town.look().outcome == "changed"
    assert [event.payload["n_rows"] for event in town.told] == [305]


def test_a_csv_whose_last_line_has_no_end_is_taken_once_the_patience_is_over(tmp_path: Path) -> None:
    town = Town(tmp_path, BIKES, patience_s=0.3)
    put(car_frame(), town.file)
    town.file.write_bytes(town.file.read_bytes().rstrip(b"\n"))
    assert town.look().outcome == "waiting"
    wait_for(lambda: town.look().outcome == "changed", "the file is taken")
    assert town.told[0].payload["n_rows"] == 300


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda file: file.write_bytes(b"PAR1 and nothing"), "not a complete Parquet file"),
        (lambda file: put(car_frame().drop(columns="make"), file), "column 'make' is missing"),
        (lambda file: put(car_frame().assign(age="old"), file), "column 'age' should be number"),
        (lambda file: file.unlink(), "does not exist"),
        (lambda file: put(car_frame(0), file), "has no rows"),
    ],
    ids=["damaged", "column missing", "mistyped", "gone", "empty"],
)
def test_a_source_that_stays_unreadable_is_told_once(town: Town, spoil: object, problem: str) -> None:
    put(car_frame(), town.file)
    town.look()
    spoil(town.file)  # type: ignore[operator]
    outcomes = [town.look().outcome for _ in range(4)]
    assert outcomes == ["waiting", "unreadable", "unreadable", "unreadable"]
    assert town.names() == ["dataset.changed", "dataset.unreadable"]
    assert problem in str(town.told[1].payload["problem"])
    put(car_frame(), town.file)
    assert town.look().outcome == "unchanged"
    put(car_frame(200), town.file)
    assert town.look().outcome == "changed"
    assert town.names() == ["dataset.changed", "dataset.unreadable", "dataset.changed"]


def test_an_unreadable_file_that_is_touched_is_not_told_again_and_another_one_is(town: Town) -> None:
    town.file.parent.mkdir()
    for content in (b"PAR1 one", b"PAR1 one", b"PAR1 two"):
        town.file.write_bytes(content)
        wait_for(lambda: town.look().outcome == "unreadable", "it is given up")
    assert town.names() == ["dataset.unreadable", "dataset.unreadable"]
    assert town.told[0].id != town.told[1].id


def test_a_source_that_the_contract_comes_to_fit_is_read_again(town: Town) -> None:
    put(car_frame().drop(columns="electric"), town.file)
    wait_for(lambda: town.look().outcome == "unreadable", "it is given up")
    columns = [c for c in CARS.model_dump(exclude_none=True)["columns"] if c["name"] != "electric"]
    town.contract = Contract.model_validate(CARS.model_dump(exclude_none=True) | {"columns": columns})
    assert town.look().outcome == "changed"


def test_a_contract_that_means_something_else_about_the_same_rows_is_no_new_data(town: Town) -> None:
    put(car_frame(), town.file)
    town.look()
    town.contract = town.contract.model_copy(update={"title": "Cars, used"})
    assert town.look().outcome == "unchanged"
    assert len(town.told) == 1


def test_a_remote_source_is_looked_at_in_the_same_way(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    town = Town(tmp_path, car_contract(source={"uri": "memory://town/cars.parquet"}))
    for n_rows in (300, 300, 200):
        memory.pipe("/town/cars.parquet", car_frame(n_rows).to_parquet(index=False))
        town.look()
        town.look()
    assert [event.payload["n_rows"] for event in town.told] == [300, 200]
    memory.rm("/town/cars.parquet")
    wait_for(lambda: town.look().outcome == "unreadable", "it is given up")
    assert town.names() == ["dataset.changed", "dataset.changed", "dataset.unreadable"]


def test_a_damaged_record_does_not_blind_the_watcher(town: Town) -> None:
    put(car_frame(), town.file)
    town.look()
    (town.settings.home / "watch" / "cars.json").write_text("{")
    judge(town.settings, str(town.told[0].payload["snapshot"]))
    assert town.look().outcome == "known"


def test_a_snapshot_that_was_deleted_does_not_hide_a_change(town: Town) -> None:
    import shutil

    put(car_frame(), town.file)
    town.look()
    shutil.rmtree(town.settings.snapshots)
    put(car_frame(200), town.file)
    assert town.look().outcome == "changed"
    assert town.told[1].payload["n_rows"] == 200
