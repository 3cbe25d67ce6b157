"""The portable model as MLflow calls it: a frame of inputs in, a frame of answers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hedonic.data.table import columns_from_frame
from hedonic.model.artifact import PortableModel

if TYPE_CHECKING:
    import pandas as pd

VALUATION_DATE = "valuation_date"
OUTPUTS = ("estimate", "interval_80_low", "interval_80_high", "interval_90_low", "interval_90_high")


@dataclass(frozen=True, slots=True)
class ServedFrame:
    """A portable model that answers frames with the endpoint's own numbers."""

    model: PortableModel

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``estimate`` and both intervals of each row, in the target's unit.

        As over HTTP a row is valued at ``valuation_date`` (a date or ISO text), by default on the
        last day of training; a column named like the contract's time column is not looked at.
        """
        import pandas as pd

        contract = self.model.contract
        names = [column.name for column in contract.inputs]
        columns = columns_from_frame(contract, frame.reindex(columns=names), names)
        if contract.time_column and VALUATION_DATE in frame:
            dates = pd.to_datetime(frame[VALUATION_DATE])
            dated = pd.DataFrame({contract.time_column: dates})
            columns |= columns_from_frame(contract, dated, [contract.time_column])
        answer = self.model.estimate(columns)
        values = np.column_stack([answer.estimate, answer.interval_80, answer.interval_90])
        return pd.DataFrame(values, columns=list(OUTPUTS), index=frame.index)


def _load_pyfunc(path: str) -> ServedFrame:
    """Return the model in ``path``; MLflow calls this by name for models with a loader module."""
    return ServedFrame(PortableModel.load(Path(path)))
