"""Bad input: each its own message and the user's exit code; nothing half-written, the champion untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.train import train
from hedonic.errors import UserError
from hedonic.promotion.history import History
from hedonic.promotion.record import Entry
from hedonic.settings import Settings
from tests.project import write_contract

pytestmark = pytest.mark.slow

DATASET = "small_county"
CHAMPION = "c" * 64

Damage = Callable[[Path], None]


def frame(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    """Return the damage that writes the changed table in place of the source."""

    def damage(source: Path) -> None:
        change(pd.read_parquet(source)).to_parquet(source, index=False)

    return damage


def put(column: str, value: object, rows: int = 50) -> Damage:
    """Return the damage that gives the first rows another value."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object)
        values.iloc[:rows] = value
        return table.assign(**{column: values.infer_objects()})

    return frame(change)


def half(source: Path) -> None:
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])


CASES: dict[str, tuple[Damage, str]] = {
    "missing": (Path.unlink, r"small_county\.parquet does not exist"),
    "a file that is being written": (half, "damaged or still being written"),
    "a column missing": (frame(lambda t: t.drop(columns="grade")), "column 'grade' is missing"),
    "a column renamed": (
        frame(lambda t: t.rename(columns={"grade": "grades"})),
        r"column 'grade' is missing \(is it now called 'grades'\?\)",
    ),
    "text in a number": (
        frame(lambda t: t.assign(bedrooms=t["bedrooms"].astype(str).where(t.index != 3, "three"))),
        "column 'bedrooms' should be integer, but row 3 has 'three'",
    ),
    "an empty table": (frame(lambda t: t.head(0)), "has no rows"),
    "an all-NaN target": (frame(lambda t: t.assign(price=np.nan)), "have no price"),
    "negative prices": (put("price", -1), "50 rows have price"),
    "duplicate rows": (frame(lambda t: pd.concat([t, t.head(50)])), "repeat"),
    "a category never seen": (put("zipcode", "00000"), "zipcode"),
    "an infinite value": (
        frame(lambda t: t.assign(lat=t["lat"].where(t.index > 49, np.inf))),
        "infinite lat",
    ),
    "a date in the future": (put("date", pd.Timestamp("2200-01-01").date()), "2200"),
}


@pytest.fixture(scope="module")
def crowned(project: Settings) -> Settings:
    """The project with a champion on record, which nothing here may touch."""
    entry = Entry(dataset=DATASET, kind="promoted", release=CHAMPION, actor="test", reason="for the test")
    History(project.history).append(entry, expected_champion=None)
    return project


def unfinished(home: Path) -> list[Path]:
    """Return what was begun and not finished below the stores."""
    stores = [home / name for name in ("snapshots", "candidates", "releases", "validations", "reports")]
    return [path for store in stores if store.exists() for path in store.rglob(".*")]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_and_changes_nothing(case: str, crowned: Settings) -> None:
    damage, message = CASES[case]
    source = crowned.root / "data" / f"{DATASET}.parquet"
    sound = source.read_bytes()
    damage(source)
    try:
        with pytest.raises(UserError, match=message) as caught:
            train(dataset=DATASET, reason=case)
    finally:
        source.write_bytes(sound)
    assert caught.value.exit_code == 2
    assert unfinished(crowned.home) == []
    champion = History(crowned.history).champion(DATASET)
    assert champion is not None
    assert champion.release == CHAMPION


def test_another_file_than_the_contract_names_is_refused(crowned: Settings) -> None:
    write_contract(crowned.root, source={"uri": f"data/{DATASET}.parquet", "sha256": "0" * 64})
    try:
        with pytest.raises(UserError, match=r"has sha256 [0-9a-f]{64}, the contract says 0000"):
            train(dataset=DATASET)
    finally:
        write_contract(crowned.root)
