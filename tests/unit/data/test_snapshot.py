"""Snapshots: addressed by content alone, and refused with a reason where the source is not right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from hedonic.data import snapshot as module
from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.errors import HedonicError, SourceError, UserError
from tests.contracts import contract_of

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "role": "id"},
    {"name": "sold", "type": "date", "nullable": True},
    {"name": "price", "type": "number", "role": "target"},
    {"name": "rooms", "type": "integer", "nullable": True},
    {"name": "lake", "type": "boolean"},
    {"name": "town", "type": "category", "nullable": True},
]


def contract(uri: str = "homes.parquet", sha256: str | None = None) -> Contract:
    return contract_of("homes", COLUMNS, source={"uri": uri, "sha256": sha256})


def homes(n_rows: int = 50) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": 2**53 + 1 + np.arange(n_rows),
            "sold": pd.Timestamp("2014-05-02") + pd.to_timedelta(np.arange(n_rows), unit="D"),
            "price": rng.uniform(1e5, 1e6, n_rows),
            "rooms": pd.array(np.where(np.arange(n_rows) % 7 == 3, None, 4), dtype="Int64"),
            "lake": np.arange(n_rows) % 3 == 0,
            "town": np.where(np.arange(n_rows) % 5 == 1, None, "Sankt Jürgen"),
        }
    )


def ingest(tmp_path: Path, uri: str = "homes.parquet", **source: Any) -> Snapshot:
    return SnapshotStore(tmp_path / "snapshots").ingest(contract(uri, **source), tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    homes().to_parquet(tmp_path / "homes.parquet")
    return tmp_path / "homes.parquet"


def changed(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "homes.parquet"
    homes().assign(**columns).to_parquet(path)
    return path


def leftovers(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "snapshots").rglob("*")]


def assert_refused(tmp_path: Path, match: str, uri: str = "homes.parquet", **source: Any) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        ingest(tmp_path, uri, **source)
    assert isinstance(caught.value, UserError)
    assert caught.value.exit_code == 2
    assert leftovers(tmp_path) == ["homes"]


def test_the_same_content_has_the_same_digest_whatever_the_file_is_called_and_how_old_it_is(
    tmp_path: Path, source: Path
) -> None:
    first = ingest(tmp_path)
    os.utime(source, (0, 0))
    source.rename(tmp_path / "elsewhere.v2.parquet")
    assert ingest(tmp_path, "elsewhere.v2.parquet").digest == first.digest


def test_row_groups_and_compression_do_not_count(tmp_path: Path, source: Path) -> None:
    first = ingest(tmp_path)
    pq.write_table(pq.read_table(source), source, row_group_size=7, compression="none")
    second = ingest(tmp_path)
    assert second.digest == first.digest
    assert second.source_sha256 != first.source_sha256


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_csv_has_the_digest_of_the_parquet_of_the_same_content(
    tmp_path: Path, source: Path, suffix: str
) -> None:
    homes().to_csv(tmp_path / f"homes.{suffix}", index=False)
    assert ingest(tmp_path, f"homes.{suffix}").digest == ingest(tmp_path).digest


def test_column_order_further_columns_and_text_encodings_do_not_count(tmp_path: Path, source: Path) -> None:
    first = ingest(tmp_path)
    table = homes().assign(town=homes()["town"].astype("category"), comment="none of ours")
    table[list(reversed(table.columns))].to_parquet(source)
    assert ingest(tmp_path).digest == first.digest


def test_blocks_of_65536_rows_are_addressed_alike_however_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hedonic.data.canonical.BLOCK_ROWS", 8)
    path = tmp_path / "homes.parquet"
    digests = set()
    for row_group in (3, 8, 50):
        homes().to_parquet(path, row_group_size=row_group)
        digests.add(ingest(tmp_path).digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"rooms": 5},
        {"price": homes()["price"] + 1e-9},
        {"town": "Sankt Jurgen"},
        {"lake": False},
        {"sold": pd.Timestamp("2014-05-02")},
    ],
)
def test_any_other_value_is_another_snapshot(tmp_path: Path, source: Path, change: dict[str, Any]) -> None:
    first = ingest(tmp_path)
    changed(tmp_path, **change)
    assert ingest(tmp_path).digest != first.digest


def test_the_order_of_rows_and_the_place_of_nulls_count(tmp_path: Path, source: Path) -> None:
    digests = {ingest(tmp_path).digest}
    homes().iloc[::-1].to_parquet(source)
    digests.add(ingest(tmp_path).digest)
    homes().assign(town=homes()["town"].to_numpy()[::-1]).to_parquet(source)
    digests.add(ingest(tmp_path).digest)
    assert len(digests) == 3


def test_a_missing_value_is_not_what_it_is_filled_with(tmp_path: Path) -> None:
    digests = set()
    for rooms in (0, None):
        homes(2).assign(rooms=pd.array([rooms, 1], dtype="Int64")).to_parquet(tmp_path / "homes.parquet")
        digests.add(ingest(tmp_path).digest)
    assert len(digests) == 2


def test_texts_that_only_join_alike_are_different_content(tmp_path: Path) -> None:
    digests = set()
    for towns in (["ab", "c"], ["a", "bc"]):
        homes(2).assign(town=towns).to_parquet(tmp_path / "homes.parquet")
        digests.add(ingest(tmp_path).digest)
    assert len(digests) == 2


def test_a_frame_has_the_rows_in_order_and_canonical_types(tmp_path: Path, source: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshots")
    frame = store.frame(ingest(tmp_path))
    assert frame["id"].tolist() == homes()["id"].tolist()  # beyond what a float can hold
    assert frame["price"].tolist() == homes()["price"].tolist()
    assert frame["sold"].dtype.kind == "M"
    assert frame["rooms"].isna().sum() == homes()["rooms"].isna().sum()
    assert frame["lake"].dtype == bool
    assert list(frame["town"][:2].astype(object).where(frame["town"][:2].notna(), None)) == [
        "Sankt Jürgen",
        None,
    ]
    assert list(store.frame(ingest(tmp_path), ["lake", "id"]).columns) == ["lake", "id"]


def test_batches_stream_the_frame(tmp_path: Path, source: Path) -> None:
    store, snapshot = SnapshotStore(tmp_path / "snapshots"), ingest(tmp_path)
    streamed = pa.Table.from_batches(store.batches(snapshot, ["id", "price"])).to_pandas()
    pd.testing.assert_frame_equal(streamed, store.frame(snapshot, ["id", "price"]))


def test_a_snapshot_that_is_there_is_not_written_again(tmp_path: Path, source: Path) -> None:
    store, snapshot = SnapshotStore(tmp_path / "snapshots"), ingest(tmp_path)
    before = store.file(snapshot).stat()
    assert ingest(tmp_path) == snapshot
    assert store.file(snapshot).stat() == before
    assert sorted(leftovers(tmp_path)) == sorted(
        ["homes", snapshot.digest, "snapshot.parquet", "snapshot.json"]
    )


def test_a_snapshot_published_by_another_process_first_is_kept(tmp_path: Path, source: Path) -> None:
    store, snapshot = SnapshotStore(tmp_path / "snapshots"), ingest(tmp_path)
    late = tmp_path / "late.parquet"
    late.write_bytes(b"the same")
    module._publish(late, store.folder(snapshot), snapshot)
    assert len(store.frame(snapshot)) == snapshot.n_rows
    assert not [name for name in leftovers(tmp_path) if name.startswith(".publish")]


def test_a_snapshot_that_cannot_be_published_leaves_nothing_behind(tmp_path: Path, source: Path) -> None:
    snapshot = ingest(tmp_path)
    target = tmp_path / "elsewhere" / "taken"
    target.mkdir(parents=True)
    (target / "something").write_text("else")
    with pytest.raises(OSError, match="not empty"):
        module._publish(source, target, snapshot)
    assert [path.name for path in target.parent.iterdir()] == ["taken"]


def test_a_snapshot_that_is_gone_says_what_to_run(tmp_path: Path, source: Path) -> None:
    store, snapshot = SnapshotStore(tmp_path / "snapshots"), ingest(tmp_path)
    store.file(snapshot).unlink()
    with pytest.raises(HedonicError, match="is gone.*Run again from the step 'ingest'"):
        store.frame(snapshot)


def test_a_source_by_uri_is_read_through_fsspec(tmp_path: Path, source: Path) -> None:
    with fsspec.open("memory://bucket/homes.parquet", "wb") as handle:
        handle.write(source.read_bytes())  # type: ignore[attr-defined]
    assert ingest(tmp_path, "memory://bucket/homes.parquet").digest == ingest(tmp_path).digest
    assert ingest(tmp_path, str(source)).digest == ingest(tmp_path).digest


# ---- what ingest refuses


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path, "homes: source homes.parquet does not exist. Correct source.uri")
    assert_refused(tmp_path, "memory://nowhere.parquet does not exist", "memory://nowhere.parquet")


def test_an_unreadable_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "homes.parquet").mkdir()
    assert_refused(tmp_path, "source homes.parquet cannot be read")
    assert_refused(tmp_path, "source gopher://a/b.parquet cannot be read.*gopher", "gopher://a/b.parquet")


def test_a_source_of_another_digest_is_refused_with_both(tmp_path: Path, source: Path) -> None:
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    told = f"has sha256 {found}, the contract says {'0' * 64}.*put its digest into source.sha256, or remove"
    assert_refused(tmp_path, told, sha256="0" * 64)
    assert ingest(tmp_path, sha256=found).source_sha256 == found


def test_a_source_of_no_known_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.xlsx").write_bytes(b"PK")
    assert_refused(tmp_path, "neither .parquet nor .csv", "homes.xlsx")


def test_every_missing_column_is_named_with_what_it_may_be_called_now(tmp_path: Path) -> None:
    homes().rename(columns={"price": "prices", "lake": "xyz"}).to_parquet(tmp_path / "homes.parquet")
    assert_refused(
        tmp_path,
        r"column 'price' is missing \(is it now called 'prices'\?\); column 'lake' is missing\. Mend",
    )


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text("id,sold,price,rooms,lake,town,price\n1,2014-01-01,2,3,true,a,4\n")
    assert_refused(tmp_path, "column 'price' is there twice", "homes.csv")


@pytest.mark.parametrize(
    ("column", "values", "match"),
    [
        (
            "price",
            ["1"] * 3 + ["12,000 €"] + ["1"] * 46,
            "'price' should be number, but row 3 has '12,000 €'",
        ),
        ("rooms", ["3"] * 49 + ["three"], "'rooms' should be integer, but row 49 has 'three'"),
        ("rooms", [3.0] * 9 + [3.5] * 41, "'rooms' should be integer, but row 9 has 3.5"),
        ("rooms", [3.0] * 9 + [np.inf] * 41, "'rooms' should be integer, but row 9 has inf"),
        ("price", [True] * 50, "'price' should be number, but row 0 has True"),
        ("price", [[1.0]] * 50, "'price' should be number, but row 0 has"),
        ("rooms", [pd.Timestamp("2014-05-02")] * 50, "'rooms' should be integer, but row 0 has"),
        ("lake", [0, 1] * 10 + [2] * 30, "'lake' should be boolean, but row 20 has 2"),
        ("lake", ["yes"] * 50, "'lake' should be boolean, but row 0 has 'yes'"),
        ("sold", pd.Series([16000] * 50, dtype="int32"), "'sold' should be date, but row 0 has 16000"),
        ("sold", ["02.05.2014"] * 50, "'sold' should be date, but row 0 has '02.05.2014'"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_row(
    tmp_path: Path, column: str, values: Any, match: str
) -> None:
    changed(tmp_path, **{column: values})
    assert_refused(tmp_path, match)


def test_the_row_of_a_mistyped_value_counts_from_the_first_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hedonic.data.source.BATCH_ROWS", 8)
    changed(tmp_path, price=["1"] * 30 + ["one"] + ["1"] * 19)
    assert_refused(tmp_path, "row 30 has 'one'")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("lake", [0, 1] * 25),
        ("lake", ["true", "false"] * 25),
        ("price", np.arange(50)),
        ("price", ["1e5", " 2.5 "] * 25),
        ("rooms", ["3", "4.0"] * 25),
        ("town", np.arange(50)),
        ("sold", ["2014-05-02"] * 50),
    ],
)
def test_values_that_say_the_same_in_another_type_are_taken(tmp_path: Path, column: str, values: Any) -> None:
    changed(tmp_path, **{column: values})
    assert ingest(tmp_path).n_rows == 50


def test_infinite_and_missing_values_are_for_validation_to_judge(tmp_path: Path) -> None:
    changed(tmp_path, price=[np.inf, -np.inf, np.nan] + [1.0] * 47)
    prices = SnapshotStore(tmp_path / "snapshots").frame(ingest(tmp_path))["price"]
    assert np.isinf(prices[:2]).all()
    assert np.isnan(prices[2])


def test_empty_text_is_a_missing_value(tmp_path: Path) -> None:
    first = changed(tmp_path, town=None) and ingest(tmp_path)
    changed(tmp_path, town="  ")
    assert ingest(tmp_path).digest == first.digest


@pytest.mark.parametrize("name", ["homes.parquet", "homes.csv"])
def test_a_table_without_rows_is_refused(tmp_path: Path, name: str) -> None:
    homes(0).to_csv(tmp_path / "homes.csv", index=False)
    homes(0).to_parquet(tmp_path / "homes.parquet")
    assert_refused(tmp_path, f"source {name} has no rows", name)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").touch()
    (tmp_path / "homes.parquet").touch()
    assert_refused(tmp_path, "source homes.csv is empty", "homes.csv")
    assert_refused(tmp_path, "not a complete Parquet file.*still being written")


def test_half_a_parquet_file_is_refused(tmp_path: Path, source: Path) -> None:
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    assert_refused(tmp_path, "homes.parquet is not a complete Parquet file.*still being written")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path, source: Path) -> None:
    content = source.read_bytes()
    source.write_bytes(content[:4] + b"\xff" * 200 + content[204:])
    assert_refused(tmp_path, "not a complete Parquet file")


def test_a_csv_whose_last_row_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text("id,sold,price,rooms,lake,town\n1,2014-01-01,2,3,true,a\n2,2014-")
    assert_refused(tmp_path, "not a complete CSV file.*still being written", "homes.csv")


def test_a_csv_may_hold_line_ends_within_quotes_and_odd_columns_that_are_not_ours(tmp_path: Path) -> None:
    table = homes(40_000).assign(town="two\nlines", odd=["1"] * 39_999 + ["one"])
    table.to_csv(tmp_path / "homes.csv", index=False)
    assert ingest(tmp_path, "homes.csv").n_rows == 40_000


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = LocalFileSystem._open

    def opened_while_written(self: Any, path: str, *args: Any, **options: Any) -> Any:
        handle = opened(self, path, *args, **options)
        with source.open("ab") as writer:
            writer.write(b"more")
        return handle

    monkeypatch.setattr(LocalFileSystem, "_open", opened_while_written)
    assert_refused(tmp_path, "changed while it was read: it is still being written")
