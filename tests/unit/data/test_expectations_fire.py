"""Each expectation of each suite fails on a table broken for it, and no other fails with it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.data.suite import Check, derive_checks
from hedonic.data.validation import check_frame

ROOT = Path(__file__).resolve().parents[3]
AS_OF = date(2026, 11, 20)
DATASETS = ("king_county", "california")
CONTRACTS = {name: load_contract(ROOT / "expectations" / f"{name}.yaml") for name in DATASETS}
FORBIDDEN_EXTRA = "assessed_value_after"

Table = pd.DataFrame
Break = Callable[[Table], Table]


def row(**values: object) -> Break:
    """Return a break that gives the contract's example row these values."""

    def change(table: Table) -> Table:
        for name, value in values.items():
            table.loc[0, name] = value
        return table

    return change


def house(**values: object) -> Break:
    """Return a break of the example house that keeps living = above + basement."""
    if "sqft_above" in values or "sqft_basement" in values:
        values["sqft_living"] = values.get("sqft_above", 900) + values.get("sqft_basement", 450)
    return row(**values)


def column(name: str, change: Callable[[Table], object]) -> Break:
    """Return a break that computes a whole column anew."""

    def apply(table: Table) -> Table:
        table[name] = change(table)
        return table

    return apply


def copy_first_row(*, but: list[str]) -> Break:
    def apply(table: Table) -> Table:
        for name in table.columns.difference(but):
            table.loc[1, name] = table.loc[0, name]
        return table

    return apply


def same_key(*names: str) -> Break:
    def apply(table: Table) -> Table:
        for name in names:
            table.loc[1, name] = table.loc[0, name]
        return table

    return apply


def between_quantiles(table: Table, name: str, low: float, high: float) -> pd.Series:
    return table[name].between(*table[name].quantile([low, high]))


def much_larger_houses(table: Table) -> Table:
    fits = table.sqft_above + 1500 <= 1.1 * table.sqft_lot * table.floors
    table["sqft_above"] += np.where(fits, 1500, 0)
    table["sqft_living"] = table.sqft_above + table.sqft_basement
    return table


def every_property_sold_twice(table: Table) -> Table:
    first, second = table.index[2:-1:2], table.index[3::2]
    differ = table.date.to_numpy()[first] != table.date.to_numpy()[second]
    table.loc[second[differ], "id"] = table.id.to_numpy()[first[differ]]
    return table


def crowded_households(table: Table) -> Table:
    few = table.people_per_household < 12
    table["people_per_household"] *= np.where(few, 1.6, 1)
    table["population"] = (table.people_per_household * table.households).round().astype("int64")
    return table


def more_bedrooms(table: Table) -> Table:
    fit = table.total_bedrooms * 1.7 <= table.total_rooms
    table["bedrooms_per_household"] *= np.where(fit, 1.7, 1)
    table["total_bedrooms"] = (table.bedrooms_per_household * table.households).round().astype("int64")
    return table


def dearer_middle(table: Table) -> pd.Series:
    middle = between_quantiles(table, "price", 0.4, 0.93) & (table.sqft_living > 700)
    return table.price.mask(middle, 1_050_000.0)


HOUSES: dict[str, Break] = {
    "columns": column(FORBIDDEN_EXTRA, lambda t: 1.0),
    "no-duplicates": same_key("id", "date"),
    "date-not-in-the-future": row(date=pd.Timestamp("2026-11-21")),
    "zipcode-categories": row(zipcode="99999"),
    "price-bounds": house(price=9000.0, sqft_above=300, sqft_basement=0, bedrooms=1, bathrooms=1.0),
    "bedrooms-bounds": row(bedrooms=-1),
    "bathrooms-bounds": house(bathrooms=12.25, bedrooms=10, sqft_above=1500),
    "sqft_living-bounds": house(sqft_above=15000, sqft_basement=5001, sqft_lot=50000),
    "sqft_lot-bounds": row(sqft_lot=3_000_001),
    "floors-bounds": row(floors=4.5),
    "view-bounds": row(view=5),
    "condition-bounds": row(condition=6),
    "grade-bounds": row(grade=0),
    "sqft_above-bounds": house(sqft_above=15001, sqft_lot=50000),
    "sqft_basement-bounds": house(sqft_above=5000, sqft_basement=8001, sqft_lot=50000),
    "yr_built-bounds": row(yr_built=1849),
    "yr_renovated-bounds": row(yr_renovated=-1),
    "lat-bounds": row(lat=47.86),
    "long-bounds": row(long=-120.9),
    "sqft_living15-bounds": row(sqft_living15=15001),
    "sqft_lot15-bounds": row(sqft_lot15=2_000_001),
    "rule-renovated-not-before-built": row(yr_renovated=1940),
    "rule-built-no-later-than-a-year-after-the-sale": row(yr_built=2017),
    "rule-renovated-no-later-than-a-year-after-the-sale": row(yr_renovated=2017),
    "rule-living-area-adds-up": row(sqft_basement=440),
    "rule-living-area-fits-lot-and-floors": row(sqft_lot=500),
    "rule-living-area-fits-bedrooms": house(bedrooms=12, sqft_above=650),
    "rule-living-area-fits-bathrooms": house(bathrooms=6.0, sqft_above=500, sqft_basement=200),
    "rule-basement-no-larger-than-twice-the-house-above": house(sqft_above=400, sqft_basement=950),
    "rule-price-fits-living-area": row(price=20000.0),
    "rule-price-within-reason-for-living-area": row(price=3_000_000.0),
    "rule-bathrooms-fit-bedrooms": row(bathrooms=7.0),
    "rule-has-a-bedroom": row(bedrooms=0),
    "rule-has-a-bathroom": row(bathrooms=0.0),
    "rule-waterfront-has-a-view": row(waterfront=True, view=0),
    "rule-custom-design-is-not-small": row(grade=11),
    "rule-houses-fit-neighbouring-lots": row(sqft_lot15=500),
    "rule-sold-after-it-was-built": row(yr_built=2015),
    "stated-table-row-count-to-be-between": lambda t: t.head(999),
    "stated-column-median-to-be-between-price": column("price", dearer_middle),
    "stated-column-unique-value-count-to-be-between-price": column(
        "price", lambda t: np.exp((np.log(t.price) * 12).round() / 12).round()
    ),
    "stated-column-quantile-values-to-be-between-price": column(
        "price", lambda t: t.price.mask(t.sqft_living > t.sqft_living.quantile(0.93), 3_000_000.0)
    ),
    "stated-column-mean-to-be-between-sqft_living": much_larger_houses,
    "stated-column-median-to-be-between-sqft_lot": column("sqft_lot", lambda t: t.sqft_lot + 20_000),
    "stated-column-mean-to-be-between-grade": column("grade", lambda t: t.grade.clip(lower=10)),
    "stated-column-most-common-value-to-be-in-set-condition": column(
        "condition", lambda t: t.condition.clip(lower=5)
    ),
    "stated-column-mean-to-be-between-waterfront": column("waterfront", lambda t: t.waterfront & False),
    "stated-column-unique-value-count-to-be-between-zipcode": column("zipcode", lambda t: t.zipcode.iloc[0]),
    "stated-column-proportion-of-unique-values-to-be-between-id": every_property_sold_twice,
    "stated-column-min-to-be-between-date": row(date=pd.Timestamp("1999-12-31")),
    "stated-column-unique-value-count-to-be-between-date": column(
        "date", lambda t: t.date + pd.to_timedelta(6 - t.date.dt.day_of_week, unit="D")
    ),
    "stated-column-values-to-be-in-set-floors": row(floors=1.25),
    "stated-column-values-to-be-between-bedrooms": row(bedrooms=13),
    "stated-column-mean-to-be-between-yr_built": column("yr_built", lambda t: t.yr_built.clip(upper=1920)),
    "stated-compound-columns-to-be-unique-date-price-sqft_living-sqft_lot-yr_built-lat-long": copy_first_row(
        but=["id"]
    ),
}

BLOCKS: dict[str, Break] = {
    "columns": column(FORBIDDEN_EXTRA, lambda t: 1.0),
    "no-duplicates": same_key("block_id"),
    "median_income-bounds": row(median_income=0.05, median_house_value=120_000.0),
    "house_age-bounds": row(house_age=-1),
    "rooms_per_household-bounds": row(
        rooms_per_household=0.05,
        total_rooms=1,
        households=1,
        total_bedrooms=1,
        bedrooms_per_household=1.0,
        population=2,
        people_per_household=2.0,
    ),
    "bedrooms_per_household-bounds": row(
        bedrooms_per_household=0.05,
        total_bedrooms=1,
        households=1,
        total_rooms=5,
        rooms_per_household=5.0,
        population=2,
        people_per_household=2.0,
    ),
    "population-bounds": row(
        population=100_001,
        people_per_household=5.00005,
        households=20_000,
        total_rooms=100_000,
        rooms_per_household=5.0,
        total_bedrooms=20_000,
        bedrooms_per_household=1.0,
    ),
    "people_per_household-bounds": row(
        people_per_household=0.05,
        population=1,
        households=1,
        total_rooms=5,
        rooms_per_household=5.0,
        total_bedrooms=1,
        bedrooms_per_household=1.0,
    ),
    "households-bounds": row(households=0, total_rooms=1, total_bedrooms=1, population=1),
    "total_rooms-bounds": row(
        total_rooms=100_001,
        rooms_per_household=5.00005,
        households=20_000,
        total_bedrooms=20_000,
        bedrooms_per_household=1.0,
        population=60_000,
        people_per_household=3.0,
    ),
    "total_bedrooms-bounds": row(
        total_bedrooms=0,
        bedrooms_per_household=0.5,
        households=1,
        total_rooms=5,
        rooms_per_household=5.0,
        population=2,
        people_per_household=2.0,
    ),
    "latitude-bounds": row(latitude=42.2),
    "longitude-bounds": row(longitude=-113.9, latitude=33.0),
    "median_house_value-bounds": row(median_house_value=999.0, median_income=0.5),
    "rule-rooms-agree-with-households": row(rooms_per_household=6.0),
    "rule-bedrooms-agree-with-households": row(bedrooms_per_household=1.2),
    "rule-people-agree-with-households": row(people_per_household=4.0),
    "rule-bedrooms-are-rooms": row(total_bedrooms=2100, bedrooms_per_household=2100 / 399),
    "rule-west-of-nevada": row(latitude=40.0, longitude=-118.0),
    "rule-east-of-the-ocean": row(latitude=34.0, longitude=-121.0),
    "rule-value-fits-income": row(median_house_value=3000.0),
    "rule-value-within-reason-for-income": row(median_house_value=400_000.0, median_income=0.2),
    "rule-more-people-than-households": row(population=390, people_per_household=390 / 399),
    "rule-not-a-resort": row(rooms_per_household=41.0, total_rooms=41 * 399),
    "rule-not-an-institution": row(people_per_household=21.0, population=21 * 399),
    "rule-value-not-capped": row(median_house_value=500_001.0),
    "stated-table-row-count-to-be-between": lambda t: t.sample(999, random_state=0).reset_index(drop=True),
    "stated-column-median-to-be-between-median_house_value": column(
        "median_house_value",
        lambda t: t.median_house_value.mask(between_quantiles(t, "median_house_value", 0.26, 0.62), 85_000.0),
    ),
    "stated-column-unique-value-count-to-be-between-median_house_value": column(
        "median_house_value", lambda t: t.median_house_value.round(-4).clip(lower=10_000)
    ),
    "stated-column-quantile-values-to-be-between-median_house_value": column(
        "median_house_value", lambda t: t.median_house_value.clip(upper=340_000)
    ),
    "stated-column-mean-to-be-between-median_income": column(
        "median_income", lambda t: (t.median_income * 2.2).clip(upper=15)
    ),
    "stated-column-max-to-be-between-median_income": row(median_income=16.0),
    "stated-column-max-to-be-between-house_age": row(house_age=53),
    "stated-column-median-to-be-between-people_per_household": crowded_households,
    "stated-column-mean-to-be-between-bedrooms_per_household": more_bedrooms,
    "stated-column-unique-value-count-to-be-between-latitude": column(
        "latitude", lambda t: np.floor(t.latitude * 10) / 10
    ),
    "stated-compound-columns-to-be-unique-median_income-house_age-population-households-"
    "total_rooms-total_bedrooms-latitude-longitude": copy_first_row(but=["block_id"]),
}
SPECIFIC = {"king_county": HOUSES, "california": BLOCKS}

# Where one expectation implies another, both fail; nowhere else.
IMPLIED = {
    ("king_county", "rule-built-no-later-than-a-year-after-the-sale"): {"rule-sold-after-it-was-built"},
    # Text is no date: nothing that compares dates can be computed.
    ("king_county", "date-type"): {
        "date-not-in-the-future",
        "rule-built-no-later-than-a-year-after-the-sale",
        "rule-renovated-no-later-than-a-year-after-the-sale",
        "rule-sold-after-it-was-built",
    },
}

# A narrower or wider type with the same values breaks the type alone.
OTHER_TYPE = {
    "integer": "int32",
    "number": "float32",
    "boolean": "int8",
    "category": "category",
    "date": "str",
}


def retyped(contract: Contract, name: str) -> Break:
    return column(name, lambda t: t[name].astype(OTHER_TYPE[contract.column(name).type]))


def emptied(contract: Contract, name: str) -> Break:
    def apply(table: Table) -> Table:
        gap = {"integer": "float64", "boolean": "object"}.get(contract.column(name).type)
        if gap:
            table[name] = table[name].astype(gap)
        table.loc[0, name] = None
        return table

    return apply


def breaks(contract: Contract) -> dict[str, Break]:
    """Return, by expectation, the smallest change that breaks it."""
    found = dict(SPECIFIC[contract.name])
    for each in contract.columns:
        found[f"{each.name}-type"] = retyped(contract, each.name)
        if not each.nullable:
            found[f"{each.name}-present"] = emptied(contract, each.name)
    return found


def failing(contract: Contract, table: Table) -> set[str]:
    return {f.check.name for f in check_frame(contract, table, AS_OF) if not f.success}


@pytest.fixture(scope="module")
def valid_tables() -> dict[str, Table]:
    """Return every seventh real row that meets every expectation, the example row first."""
    tables = {}
    for name, contract in CONTRACTS.items():
        source = pq.read_table(ROOT / "data" / f"{name}.parquet").to_pandas(date_as_object=False)
        for each in contract.columns:
            if each.type == "number":
                source[each.name] = source[each.name].astype("float64")
        found = check_frame(contract, source, AS_OF)
        broken = {r for finding in found if not finding.success for r in finding.rows or ()}
        clean = source.drop(index=list(broken))
        key = contract.id_column
        example = clean[clean[key] == contract.column(key).example]
        others = clean.drop(index=example.index).iloc[::7]
        tables[name] = pd.concat([example, others], ignore_index=True)
    return tables


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_valid_table_breaks_no_expectation(dataset: str, valid_tables: dict[str, Table]) -> None:
    assert failing(CONTRACTS[dataset], valid_tables[dataset]) == set()


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_expectation_has_a_table_that_breaks_it(dataset: str) -> None:
    asked = {check.name for check in derive_checks(CONTRACTS[dataset], AS_OF)}
    assert set(breaks(CONTRACTS[dataset])) == asked


def could_fail(check: Check, valid: Table, broken: Table) -> bool:
    """Return whether a check sees anything else in the broken table than in the valid one, where it holds."""
    if len(valid) != len(broken) or not check.columns:
        return True
    return any(name not in broken or not valid[name].equals(broken[name]) for name in check.columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "name"), [(dataset, name) for dataset in DATASETS for name in breaks(CONTRACTS[dataset])]
)
def test_an_expectation_fails_alone_on_a_table_broken_for_it(
    dataset: str, name: str, valid_tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    contract, valid = CONTRACTS[dataset], valid_tables[dataset]
    broken = breaks(contract)[name](valid.copy())
    asked = tuple(check for check in derive_checks(contract, AS_OF) if could_fail(check, valid, broken))
    monkeypatch.setattr("hedonic.data.validation.derive_checks", lambda *_: asked)
    assert failing(contract, broken) == {name} | IMPLIED.get((dataset, name), set())


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_lost_column_fails_every_expectation_about_it_and_no_other(
    dataset: str, valid_tables: dict[str, Table]
) -> None:
    contract = CONTRACTS[dataset]
    lost = {"king_county": "zipcode", "california": "house_age"}[dataset]
    about_it = {check.name for check in derive_checks(contract, AS_OF) if lost in check.columns}
    assert failing(contract, valid_tables[dataset].drop(columns=lost)) == {"columns", *about_it}


def test_king_county_states_at_least_25_expectations_beside_those_that_columns_imply() -> None:
    contract = CONTRACTS["king_county"]
    assert len(contract.rules) + len(contract.expectations) >= 25
