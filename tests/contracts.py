"""Small contracts and tables for tests: houses with time and place, cars with neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hedonic.data.contract import Contract

DESCRIBED = {"description": "as its name says"}
TREES = {"n_estimators": 30, "num_leaves": 7, "min_child_samples": 5}


def contract_of(name: str, columns: list[dict[str, Any]], /, **changes: Any) -> Contract:
    """Return a contract about the columns, the target among them; ``changes`` replaces its keys."""
    target = next(column["name"] for column in columns if column.get("role") == "target")
    content = {
        "format_version": 1,
        "name": name,
        "title": name,
        "source": {"uri": f"{name}.parquet"},
        "target": {"column": target, "unit": "EUR"},
        "columns": [{**DESCRIBED, **column} for column in columns],
        "search": {"families": {"ridge": {}}},
        "split": {"method": "random", "seed": 42},
        "gate": {"limits": []},
    }
    return Contract.model_validate({**content, **changes})


HOUSE_COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "role": "id"},
    {"name": "sold", "type": "date", "role": "time"},
    {"name": "price", "type": "number", "role": "target"},
    {"name": "area", "type": "number", "nullable": True},
    {"name": "lot", "type": "number"},
    {"name": "rooms", "type": "integer"},
    {"name": "built", "type": "integer"},
    {"name": "renovated", "type": "integer"},
    {"name": "lake", "type": "boolean"},
    {"name": "quarter", "type": "category", "nullable": True},
    {"name": "note", "type": "text", "nullable": True},
    {"name": "lat", "type": "number", "nullable": True},
    {"name": "long", "type": "number", "nullable": True},
    {"name": "agent", "type": "text", "role": "attribute"},
]
HOUSE_FEATURES: dict[str, Any] = {
    "ages": [
        {"name": "age", "year": "built"},
        {"name": "effective_age", "year": "built", "renewed": "renovated"},
    ],
    "logs": ["area", "lot"],
    "ratios": [{"name": "area_per_room", "numerator": "area", "denominator": "rooms"}],
    "place": {
        "latitude": "lat",
        "longitude": "long",
        "rotations_deg": [30],
        "min_clusters": 3,
        "max_clusters": 6,
    },
    "comparables": {
        "neighbours": [3, 8],
        "size": "area",
        "similar": {"log_area": 0.3, "age": 20},
        "averaged": ["area"],
    },
}


def house_contract(**changes: Any) -> Contract:
    """Return the contract of houses with every kind of feature; small trees, three folds."""
    return contract_of(
        "houses",
        HOUSE_COLUMNS,
        **{
            "features": HOUSE_FEATURES,
            "split": {"method": "time"},
            "search": {
                "folds": 3,
                "trials": 4,
                "families": {
                    "ridge": {"alpha": {"low": 0.1, "high": 10, "log": True}},
                    "boosting": {**TREES, "learning_rate": {"low": 0.05, "high": 0.2}},
                },
            },
            **changes,
        },
    )


def house_frame(n_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return sales about four towns over a year, some values missing, as a snapshot would give them."""
    rng = np.random.default_rng(seed)
    town = rng.integers(0, 4, n_rows)
    area = rng.lognormal(np.log(120), 0.35, n_rows)
    built = rng.integers(1900, 2014, n_rows)
    days = np.sort(rng.integers(16_190, 16_555, n_rows))
    lake = rng.random(n_rows) < 0.1
    level = 12 + 0.3 * town + 0.7 * np.log(area / 120) + 0.3 * lake + 0.003 * (built - 1950)
    frame = pd.DataFrame(
        {
            "id": rng.integers(0, n_rows * 9 // 10, n_rows),
            "sold": days.astype("datetime64[D]"),
            "price": np.exp(level + rng.normal(0, 0.1, n_rows)),
            "area": area,
            "lot": area * rng.uniform(0.5, 8, n_rows),
            "rooms": rng.integers(0, 9, n_rows),
            "built": built,
            "renovated": np.where(rng.random(n_rows) < 0.2, 2010, 0),
            "lake": lake,
            "quarter": np.array(["Ash", "Birch", "Cedar", "Ash"], dtype=object)[town],
            "note": np.full(n_rows, "quiet", dtype=object),
            "lat": 47.5 + 0.06 * (town // 2) + rng.normal(0, 0.008, n_rows),
            "long": -122.2 + 0.09 * (town % 2) + rng.normal(0, 0.012, n_rows),
            "agent": np.full(n_rows, "A. Gent", dtype=object),
        }
    )
    frame.loc[rng.random(n_rows) < 0.04, "area"] = np.nan
    frame.loc[rng.random(n_rows) < 0.04, "quarter"] = None
    frame.loc[rng.random(n_rows) < 0.03, ["lat", "long"]] = np.nan
    return frame


CAR_COLUMNS: list[dict[str, Any]] = [
    {"name": "price", "type": "number", "role": "target"},
    {"name": "age", "type": "number"},
    {"name": "mileage", "type": "number", "nullable": True},
    {"name": "make", "type": "category", "categories": ["Audi", "Fiat", "Saab"], "nullable": True},
    {"name": "electric", "type": "boolean"},
]


def car_contract(**changes: Any) -> Contract:
    """Return the contract of cars: five columns, neither time nor place nor id."""
    return contract_of(
        "cars",
        CAR_COLUMNS,
        **{
            "search": {
                "folds": 3,
                "trials": 4,
                "families": {"median": {}, "ridge": {"alpha": {"low": 0.1, "high": 10}}, "boosting": TREES},
            },
            **changes,
        },
    )


def car_frame(n_rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Return cars whose price falls with age and mileage and depends on the make."""
    rng = np.random.default_rng(seed)
    make = rng.integers(0, 3, n_rows)
    age, mileage = rng.uniform(0, 15, n_rows), rng.uniform(0, 200_000, n_rows)
    electric = rng.random(n_rows) < 0.2
    level = 10 - 0.1 * age - 2e-6 * mileage - 0.4 * (make == 1) + 0.2 * electric
    frame = pd.DataFrame(
        {
            "price": np.exp(level + rng.normal(0, 0.08, n_rows)),
            "age": age,
            "mileage": mileage,
            "make": np.array(["Audi", "Fiat", "Saab"], dtype=object)[make],
            "electric": electric,
        }
    )
    frame.loc[rng.random(n_rows) < 0.05, "mileage"] = np.nan
    frame.loc[rng.random(n_rows) < 0.05, "make"] = None
    return frame
