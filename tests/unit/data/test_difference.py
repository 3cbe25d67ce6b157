"""What differs between two snapshots."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.data.contract import Contract
from hedonic.data.difference import Difference, compare, open_snapshot
from hedonic.data.snapshot import SnapshotStore
from tests.contracts import (
    CAR_COLUMNS,
    HOUSE_COLUMNS,
    car_contract,
    car_frame,
    contract_of,
    house_contract,
    house_frame,
)


def differ(
    folder: Path,
    before: pd.DataFrame,
    after: pd.DataFrame,
    contract: Contract,
    earlier: Contract | None = None,
) -> Difference:
    """Return what differs from one table to another, each made a snapshot."""
    store, snapshots = SnapshotStore(folder / "snapshots"), []
    for frame, of in ((before, earlier or contract), (after, contract)):
        frame.to_parquet(folder / contract.source.uri, index=False)
        snapshots.append(store.ingest(of, folder))
    return compare(contract, store, *snapshots)


def unique_houses(n_rows: int = 400) -> pd.DataFrame:
    return house_frame(n_rows).assign(id=range(n_rows))


def test_rows_are_added_removed_and_changed_by_their_id(tmp_path: Path) -> None:
    before = unique_houses()
    after = before.drop(index=range(7)).copy()
    after.loc[[10, 20, 30], "price"] += 1
    after = pd.concat([after, unique_houses(5).assign(id=range(900, 905))])
    found = differ(tmp_path, before, after, house_contract())
    assert (found.added, found.removed, found.changed) == (5, 7, 3)
    assert (found.n_rows_before, found.n_rows_after) == (400, 398)
    assert found.summary.startswith("+5 rows, -7 rows, 3 changed")


def test_a_house_sold_twice_is_two_rows_of_one_id(tmp_path: Path) -> None:
    before = unique_houses(10).assign(id=7)
    after = pd.concat([before.assign(price=before.price.where(before.index != 3, 1.0)), before.iloc[[0]]])
    found = differ(tmp_path, before, after, house_contract())
    assert (found.added, found.removed, found.changed) == (1, 0, 1)


def test_without_an_id_a_changed_row_is_one_gone_and_one_new(tmp_path: Path) -> None:
    before = car_frame()
    after = before.copy()
    after.loc[:4, "age"] += 1
    found = differ(tmp_path, before, after, car_contract())
    assert (found.added, found.removed, found.changed) == (5, 5, None)


def test_the_same_rows_in_another_order_are_said_to_be_so(tmp_path: Path) -> None:
    before = unique_houses()
    found = differ(tmp_path, before, before.iloc[::-1], house_contract())
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
    assert found.summary == "the same rows in another order"


def test_a_null_in_a_batch_makes_no_other_row_look_changed(tmp_path: Path) -> None:
    columns = [{**c, "nullable": True} if c["name"] in ("rooms", "lake") else c for c in HOUSE_COLUMNS]
    contract = contract_of("houses", columns)
    before = unique_houses().astype({"rooms": "Int64", "lake": "boolean"})
    after = before.copy()
    after.loc[0, ["rooms", "lake"]] = pd.NA
    found = differ(tmp_path, before, after, contract)
    assert (found.added, found.removed, found.changed) == (0, 0, 1)


def test_columns_are_added_removed_and_retyped_with_the_contract(tmp_path: Path) -> None:
    before = car_contract()
    columns = [c for c in CAR_COLUMNS if c["name"] != "mileage"]
    columns = [{**c, "type": "text"} if c["name"] == "electric" else c for c in columns]
    columns = [{k: v for k, v in c.items() if k != "categories"} for c in columns]
    after = contract_of("cars", [*columns, {"name": "doors", "type": "integer"}])
    frame = car_frame().assign(doors=5)
    found = differ(tmp_path, frame.assign(electric=True), frame.assign(electric="yes"), after, before)
    assert found.columns_added == ("doors",)
    assert found.columns_removed == ("mileage",)
    assert found.columns_retyped == ("electric: bool -> string",)
    assert (found.added, found.removed) == (0, 0)
    assert "new column doors" in found.summary
    assert "`mileage`" in found.markdown


def test_the_column_that_moved_most_comes_first_and_is_named(tmp_path: Path) -> None:
    before = unique_houses()
    after = before.assign(area=before.area * 2)
    found = differ(tmp_path, before, after, house_contract())
    assert found.shifts[0].column == "area"
    assert found.shifts[0].statistic > 0.4
    assert found.shifts[0].after == pytest.approx(2 * found.shifts[0].before)
    assert "area moved most" in found.summary
    still = next(shift for shift in found.shifts if shift.column == "lot")
    assert still.statistic == 0


def test_ids_and_free_text_are_not_said_to_move(tmp_path: Path) -> None:
    found = differ(tmp_path, unique_houses(), unique_houses(300), house_contract())
    assert {shift.column for shift in found.shifts}.isdisjoint({"id", "note", "agent"})


def test_a_category_that_came_and_one_that_went_are_named(tmp_path: Path) -> None:
    before = car_frame().assign(make="Audi")
    after = before.assign(make=["Saab"] * 150 + ["Audi"] * 150)
    shift = next(s for s in differ(tmp_path, before, after, car_contract()).shifts if s.column == "make")
    assert shift.statistic == 0.5
    assert (shift.appeared, shift.vanished) == (("Saab",), ())


def test_a_column_that_lost_its_values_has_moved_entirely(tmp_path: Path) -> None:
    before = car_frame()
    shifts = differ(tmp_path, before, before.assign(mileage=np.nan, make=None), car_contract()).shifts
    assert {shift.column: shift.statistic for shift in shifts if shift.statistic} == {"mileage": 1, "make": 1}
    assert all(shift.missing_after == 1 for shift in shifts[:2])


def test_dates_are_told_as_dates(tmp_path: Path) -> None:
    before = unique_houses()
    later = before.assign(sold=before.sold + pd.Timedelta(days=365))
    shift = next(s for s in differ(tmp_path, before, later, house_contract()).shifts if s.column == "sold")
    assert shift.kind == "date"
    assert str(shift.after).startswith("2015-")


def test_a_difference_is_json_and_comes_back_whole(tmp_path: Path) -> None:
    found = differ(tmp_path, car_frame(), car_frame(200), car_contract())
    assert Difference.model_validate(json.loads(found.model_dump_json())) == found


def test_a_snapshot_that_is_gone_is_none(tmp_path: Path) -> None:
    assert open_snapshot(SnapshotStore(tmp_path), "cars", "0" * 64) is None


ROW = st.tuples(st.integers(0, 5), st.integers(0, 2))
LOTS = contract_of(
    "lots",
    [{"name": "id", "type": "integer", "role": "id"}, {"name": "price", "type": "number", "role": "target"}],
)


@given(st.lists(ROW, min_size=1, max_size=20), st.lists(ROW, min_size=1, max_size=20))
@settings(max_examples=40)
def test_what_was_and_what_came_less_what_went_is_what_is(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    before, after = (
        pd.DataFrame(of, columns=["id", "price"]).astype({"price": float}) for of in (rows, others)
    )
    found = differ(tmp_path_factory.mktemp("pair"), before, after, LOTS)
    assert found.changed is not None
    assert len(rows) + found.added - found.removed == len(others)
    kept = sum(min(rows.count(row), others.count(row)) for row in set(rows))
    assert found.removed + found.changed + kept == len(rows)


@pytest.mark.scale
@pytest.mark.slow
def test_a_million_rows_are_compared_within_half_a_minute(tmp_path: Path) -> None:
    before = house_frame(1_000_000)
    after = before.copy()
    after.loc[:999, "price"] += 1
    store, contract, snapshots = SnapshotStore(tmp_path / "snapshots"), house_contract(), []
    for frame in (before, after):
        frame.to_parquet(tmp_path / contract.source.uri, index=False)
        snapshots.append(store.ingest(contract, tmp_path))
    began = time.monotonic()
    assert compare(contract, store, *snapshots).changed == 1000
    assert time.monotonic() - began < 30
