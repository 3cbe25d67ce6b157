"""The recipe: what is fitted, apart from the rows."""

from __future__ import annotations

from typing import Any

from hedonic.data.contract import Family, Frozen


class Recipe(Frozen):
    """What is fitted: all that a refit needs beside the rows."""

    family: Family
    parameters: dict[str, Any]
    n_clusters: int | None
    seed: int
