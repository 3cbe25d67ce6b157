"""Scoring a table file: the endpoint's own numbers, whole or not at all, in a memory that does not grow."""

import csv
import gzip
import json
import tracemalloc
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hedonic.errors import UserError
from hedonic.scoring.table_scoring import SHOWN_PROBLEMS, score_table
from hedonic.serving.predictor import Predictor
from hedonic.serving.table_form import RESULT_COLUMNS
from tests.drills import count
from tests.tiny_release import ROW, tiny_model

ROWS = [
    {
        **ROW,
        "area": 200.5 + 3 * n,
        "lake": n % 2 == 0,
        "garden": None if n % 3 == 0 else 100 + n,
        "listed": None,
    }
    for n in range(257)
]
CARRIED = {"id": 7, "sold": "2015-01-31", "price": 250_000.5}


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny_model(serve={"port": 3999, "max_rows": 100}))


@pytest.fixture(scope="module")
def expected(predictor):
    return [predictor.predict([row])[0] for row in ROWS]


def opened(path, mode):
    """Return a text file, packed if its suffix says so."""
    return (gzip.open if path.suffix == ".gz" else open)(path, mode, newline="")


def write(path, rows):
    """Write the rows in the format of the path's suffix, as other programs do."""
    rows = [{**CARRIED, **row} for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        dated = [{**row, "sold": date(2015, 1, 31)} for row in rows]
        pq.write_table(pa.Table.from_pylist(dated), path)
    else:
        with opened(path, "wt") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def read(path):
    """Return the rows of a written table, numbers as numbers."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with opened(path, "rt") as file:
        return list(csv.DictReader(file))


def score(predictor, source, target, **options):
    return score_table(predictor, "f" * 64, source, str(target), **options)


@pytest.mark.parametrize("written", ["out.csv", "out.csv.gz", "out.parquet", "out.jsonl"])
@pytest.mark.parametrize("given", ["in.csv", "in.csv.gz", "in.parquet", "in.jsonl"])
def test_each_format_gives_the_numbers_that_each_row_gives_alone(
    predictor, expected, tmp_path, given, written
):
    scoring = score(predictor, write(tmp_path / given, ROWS), tmp_path / written)
    found = read(tmp_path / written)
    assert [float(row["estimate"]) for row in found] == [row["estimate"] for row in expected]
    assert [[float(row["low_80"]), float(row["high_80"])] for row in found] == [
        row["interval_80"] for row in expected
    ]
    assert [[float(row["low_90"]), float(row["high_90"])] for row in found] == [
        row["interval_90"] for row in expected
    ]
    assert [row["confidence_grade"] for row in found] == [row["confidence"]["grade"] for row in expected]
    assert [row["warnings"] or "" for row in found] == ["; ".join(row["warnings"]) for row in expected]
    assert {str(row["id"]) for row in found} == {"7"}  # what is no input is carried along
    assert [float(row["area"]) for row in found] == [row["area"] for row in ROWS]
    estimates = [row["estimate"] for row in expected]
    assert (scoring.n_rows, scoring.n_refused) == (len(ROWS), 0)
    assert (scoring.estimate_min, scoring.estimate_max) == (min(estimates), max(estimates))
    assert scoring.estimate_mean == pytest.approx(sum(estimates) / len(estimates), rel=1e-12)
    assert {path.name for path in tmp_path.iterdir()} == {given, written}


def test_a_uri_is_as_good_as_a_path(predictor, tmp_path):
    import fsspec

    files = fsspec.filesystem("memory")
    with files.open("/town/in.csv", "wb") as file:
        file.write(Path(write(tmp_path / "in.csv", ROWS)).read_bytes())
    score(predictor, "memory://town/in.csv", "memory://town/out.jsonl")
    assert files.cat("/town/out.jsonl").count(b"\n") == len(ROWS)
    assert len(files.ls("/town")) == 2


def test_a_parquet_table_keeps_its_types(predictor, tmp_path):
    score(predictor, write(tmp_path / "in.parquet", ROWS), tmp_path / "out.parquet")
    before, after = pq.read_schema(tmp_path / "in.parquet"), pq.read_schema(tmp_path / "out.parquet")
    assert [after.field(name).type for name in before.names] == before.types
    assert [str(after.field(name).type) for name in RESULT_COLUMNS] == [*["double"] * 5, "string", "string"]


def test_a_typed_table_may_keep_booleans_and_categories_as_training_reads_them(tmp_path):
    columns = [dict(column) for column in tiny_model().contract.model_dump(mode="json")["columns"]]
    for column in columns:
        if column["name"] == "quarter":
            column["categories"] = ["98178", "Hill", "Old Town"]
    predictor = Predictor(tiny_model(columns=columns))
    row = {**ROW, "quarter": 98178, "lake": 1, "garden": float("nan"), "bedrooms": 3.0}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in.parquet")
    score(predictor, str(tmp_path / "in.parquet"), tmp_path / "out.parquet")
    wanted = predictor.predict([{**ROW, "quarter": "98178", "lake": True, "garden": None}])[0]["estimate"]
    assert read(tmp_path / "out.parquet")[0]["estimate"] == wanted


@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.jsonl"])
def test_one_bad_row_refuses_the_table_and_nothing_is_written(predictor, tmp_path, name):
    rows = [*ROWS, {**ROW, "bedrooms": 99}, *ROWS, {**ROW, "quarter": "Nowhere"}]
    source = write(tmp_path / name, rows)
    with pytest.raises(UserError) as refusal:
        score(predictor, source, tmp_path / "out.csv")
    told = str(refusal.value)
    assert f"2 problems in {len(rows)} rows" in told
    assert f"row {len(ROWS)}, bedrooms: must be at most 10; got 99" in told
    assert f"row {2 * len(ROWS) + 1}, quarter: must be one of" in told
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_of_many_problems_the_first_are_shown_and_all_are_counted(predictor, tmp_path):
    source = write(tmp_path / "in.csv", [{**ROW, "bedrooms": 99, "area": 1}] * 3000)
    with pytest.raises(UserError) as refusal:
        score(predictor, source, tmp_path / "out.csv")
    assert "6000 problems in 3000 rows" in str(refusal.value)
    assert str(refusal.value).count("\n") == SHOWN_PROBLEMS + 1
    assert f"and {6000 - SHOWN_PROBLEMS} more" in str(refusal.value)


@pytest.mark.parametrize("written", ["out.csv", "out.parquet", "out.jsonl"])
@pytest.mark.parametrize("given", ["in.csv", "in.parquet", "in.jsonl"])
def test_refused_rows_can_be_kept_with_their_problems(predictor, expected, tmp_path, given, written):
    rows = [*ROWS[:60], {**ROW, "bedrooms": 99, "area": 1.5}, *ROWS[60:]]
    scoring = score(predictor, write(tmp_path / given, rows), tmp_path / written, keep_refused=True)
    found = read(tmp_path / written)
    assert (scoring.n_rows, scoring.n_refused) == (len(rows), 1)
    bad = found.pop(60)
    assert not bad.get("estimate")
    assert "bedrooms: must be at most 10; got 99; area: must be at least 100" in bad["problems"]
    assert [float(row["estimate"]) for row in found] == [row["estimate"] for row in expected]
    assert not any(row.get("problems") for row in found)


def test_rows_that_are_none_are_kept_too(predictor, tmp_path):
    (tmp_path / "in.jsonl").write_text(
        f"{json.dumps(ROW)}\nnonsense\n[1]\n\n{json.dumps({**ROW, 'arae': 3})}\n"
    )
    scoring = score(predictor, str(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", keep_refused=True)
    assert (scoring.n_rows, scoring.n_refused) == (4, 3)
    told = [row.get("problems", "") for row in read(tmp_path / "out.jsonl")]
    assert told[0] == ""
    assert "is not a line of JSON" in told[1]
    assert "must be an object" in told[2]
    assert "arae: unknown field" in told[3]
    (tmp_path / "in.csv").write_text("bedrooms,area,built,lake,quarter\n3,500,1950,false,Hill\n3,500\n")
    scoring = score(predictor, str(tmp_path / "in.csv"), tmp_path / "out.csv", keep_refused=True)
    assert read(tmp_path / "out.csv")[1]["problems"] == "has 2 values; the table has 5 columns"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("in.csv", "bedroms,area\n1,2\n", "bedroms: unknown column; did you mean 'bedrooms'"),
        ("in.csv", "", "the table is empty"),
        ("in.csv", "é".encode("latin-1") * 9, "not UTF-8"),
        ("in.parquet", "PAR1", "not a complete Parquet file"),
        ("in.jsonl", "\n", "the table is empty"),
        ("in.xlsx", "x", "name the table by its format"),
        ("in.parquet.gz", "x", "name the table by its format"),
    ],
)
def test_what_is_no_table_of_this_contract_is_refused(predictor, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=told):
        score(predictor, str(tmp_path / name), tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_place_that_cannot_be_read_or_written_is_named(predictor, tmp_path):
    source = write(tmp_path / "in.csv", ROWS)
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        score(predictor, str(tmp_path / "gone.csv"), tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"out\.csv: cannot be written"):
        score(predictor, source, tmp_path / "no" / "such" / "out.csv")
    with pytest.raises(UserError, match="the table to be read"):
        score(predictor, source, source)


def test_columns_that_would_be_written_twice_are_refused(tmp_path):
    columns = [*tiny_model().contract.model_dump(mode="json")["columns"]]
    columns.append({"name": "estimate", "type": "number", "role": "attribute", "description": "Theirs"})
    predictor = Predictor(tiny_model(columns=columns))
    source = write(tmp_path / "in.csv", [{**ROW, "estimate": 5}])
    with pytest.raises(UserError, match="has the columns estimate already"):
        score(predictor, source, tmp_path / "out.csv")


@pytest.mark.drill
@pytest.mark.scale
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(predictor, tmp_path, kind, drill_table):
    peaks = []
    for n_rows in (20_000, count(few=60_000, promised=1_000_000)):
        source, rows = tmp_path / f"in.{kind}", ROWS * 10
        if kind == "csv":
            text = write(tmp_path / "some.csv", rows)
            head, *lines = Path(text).read_text().splitlines(keepends=True)
            with source.open("w", newline="") as file:
                file.write(head)
                for start in range(0, n_rows, len(lines)):
                    file.writelines(lines[: n_rows - start])
        else:
            table = pa.Table.from_pylist(rows)
            with pq.ParquetWriter(source, table.schema) as writer:
                for start in range(0, n_rows, len(table)):
                    writer.write_table(table.slice(0, n_rows - start))
        tracemalloc.start()
        scoring = score(predictor, str(source), tmp_path / f"out.{kind}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert scoring.n_rows == n_rows
    assert peaks[1] < peaks[0] + 4 * 2**20, peaks
    found = f"{peaks[1] / 2**20:.1f} MB of Python's memory; {peaks[0] / 2**20:.1f} MB for 20,000 rows"
    drill_table.add(f"rows of a {kind} table scored", n_rows, found)
