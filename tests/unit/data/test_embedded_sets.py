"""The embedded data sets are those that data/README.md names."""

from __future__ import annotations

import hashlib
import re

from hedonic.data.contract_file import load_contract
from tests.project import ROOT


def test_every_embedded_file_has_the_digest_that_the_readme_names() -> None:
    text = (ROOT / "data" / "README.md").read_text()
    named = dict(re.findall(r"^\| `(\w+\.parquet)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "data").glob("*.parquet")
    }
    assert found == named
    assert set(named) == {"king_county.parquet", "california.parquet"}


def test_sales_may_be_added_and_a_census_may_not() -> None:
    king_county, california = (
        load_contract(ROOT / "expectations" / f"{name}.yaml") for name in ("king_county", "california")
    )
    assert king_county.source.sha256 is None
    assert california.source.sha256 is not None
