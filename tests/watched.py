"""Projects to be watched: contracts on small tables that are quick to look at."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

from hedonic.data.contract import Contract
from hedonic.settings import Settings, Watch

DEBOUNCE_S = 0.1


def make_watched(root: Path, *contracts: Contract, **watch: float) -> Settings:
    """Return the settings of a project with these contracts and no data yet."""
    (root / "expectations").mkdir(parents=True)
    (root / "prefect.yaml").write_text("name: watched\n")
    for contract in contracts:
        write_contract(root, contract)
    timing = {"debounce_s": DEBOUNCE_S, "every_s": 0.5, "patience_s": 0.0} | watch
    return Settings(root=root, home=root / ".hedonic", watch=Watch(**timing))


def write_contract(root: Path, contract: Contract) -> None:
    text = yaml.safe_dump(contract.model_dump(mode="json", exclude_none=True))
    (root / "expectations" / f"{contract.name}.yaml").write_text(text)


def put(frame: pd.DataFrame, path: Path, **how: object) -> Path:
    """Write the table to where it is watched, Parquet or CSV by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False, **how)
    return path
