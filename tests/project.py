"""A project folder of a test's own: our code, a small contract, and a home below a temporary folder."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import yaml

from hedonic.settings import Settings
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
SHARED = (
    "src", "flows", "tasks", "bentos", "deployments", "prefect.yaml", "prefect.toml", "bentofile.yaml",
    "pyproject.toml", "requirements.txt", "requirements-serve.txt",
)  # fmt: skip


def make_project(
    folder: Path, name: str = "small_county", port: int | None = None, **changes: Any
) -> Settings:
    """Return the settings of a project in ``folder`` with one contract, on a sixth of King County."""
    folder.mkdir(parents=True, exist_ok=True)
    for shared in SHARED:
        (folder / shared).symlink_to(ROOT / shared)
    (folder / "data").mkdir()
    (folder / "expectations").mkdir()
    sales = pd.read_parquet(ROOT / "data" / "king_county.parquet").iloc[::6]
    sales.to_parquet(folder / "data" / f"{name}.parquet", index=False)
    write_contract(folder, name, serve={"port": port or free_port()}, **changes)
    return Settings(root=folder, home=folder / ".hedonic")


def whole_project(folder: Path, name: str, port: int) -> Settings:
    """Return the settings of a project in ``folder`` with one of our contracts, its endpoint elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for shared in (*SHARED, "data"):
        (folder / shared).symlink_to(ROOT / shared)
    (folder / "expectations").mkdir()
    contract = yaml.safe_load((ROOT / "expectations" / f"{name}.yaml").read_text())
    contract["serve"] = {**contract.get("serve", {}), "port": port}
    (folder / "expectations" / f"{name}.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))
    return Settings(root=folder, home=folder / ".hedonic")


def copy_ours(folder: Path, *names: str) -> None:
    """Put copies of the project's folders and files into ``folder``, in place of links if there are any."""
    for name in names:
        source, target = ROOT / name, folder / name
        if target.is_symlink():
            target.unlink()
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def write_contract(folder: Path, name: str = "small_county", **changes: Any) -> None:
    """Write King County's contract under another name, made quick, with some of its keys replaced."""
    contract = yaml.safe_load((ROOT / "expectations" / "king_county.yaml").read_text())
    contract |= {
        "name": name,
        "title": "A sixth of King County",
        "source": {"uri": f"data/{name}.parquet"},
        "quarantine_fraction": 0.002,
        "expectations": [],
        "serve": {"port": free_port()},
    }
    contract["search"] |= {"trials": 3, "folds": 2}
    contract["search"]["families"] = {
        "ridge": {"alpha": {"low": 0.1, "high": 100, "log": True}},
        "boosting": {
            "n_estimators": 60,
            "num_leaves": 15,
            "learning_rate": {"low": 0.08, "high": 0.15, "log": True},
        },
    }
    contract["refit"] |= {"agreement_mdape_pct": 15.0}
    # What the real contract asks beyond this is not what a sixth of the rows, or a test's own model, is like.
    contract["gate"] = {"limits": [{"metric": "mdape_pct", "maximum": 25}], "slices": {"minimum_rows": 100}}
    for key, value in changes.items():
        contract[key] = {**contract[key], **value} if isinstance(value, dict) else value
    (folder / "expectations" / f"{name}.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))


def declaration(dataset: str) -> dict[str, Any]:
    """Return our prefect.yaml with one data set, of another name, and a night that is not about to come."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    content["deployments"] = [one for one in content["deployments"] if "california" not in one["name"]]
    text = yaml.safe_dump(content, sort_keys=False, width=1000).replace("king_county", dataset)
    here, elsewhere = "America/Los_Angeles", "Asia/Tokyo"
    night = datetime.now(ZoneInfo(here)).replace(hour=4, minute=30)
    if abs(night - datetime.now(ZoneInfo(here))) < timedelta(hours=3):
        text = text.replace(here, elsewhere)
    declared: dict[str, Any] = yaml.safe_load(text)
    return declared
