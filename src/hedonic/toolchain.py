"""The toolchain: Python, the libraries and the variables that numbers come from."""

from __future__ import annotations

import platform
from typing import Final

from hedonic.lineage import package_versions
from hedonic.process_environment import read_numeric_environment

NUMERIC_PACKAGES: Final = (
    "lightgbm",
    "mapie",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
)
"""Libraries whose arithmetic, sampling or reading of rows is in the bits of a model."""


def toolchain() -> dict[str, str]:
    """Return the versions that are installed and the numeric environment that is set, by name.

    The lock says what should be installed: this is what was.
    """
    versions = package_versions(NUMERIC_PACKAGES)
    return {"python": platform.python_version(), **versions, **read_numeric_environment()}
