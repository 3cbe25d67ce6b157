"""The time of one prediction, which the gate holds against the contract's budget."""

from __future__ import annotations

import time

import numpy as np

from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel

N_TIMED = 50


def latency_ms(model: PortableModel, data: TrainingData) -> float:
    """Return the median time of one estimate in milliseconds, over the first 50 holdout rows."""
    rows = [take(data.columns, data.split.holdout[n : n + 1]) for n in range(N_TIMED)]
    model.estimate(rows[0])
    spent = []
    for row in (row for row in rows if len(next(iter(row.values())))):
        began = time.perf_counter()
        model.estimate(row)
        spent.append(time.perf_counter() - began)
    return float(np.median(spent)) * 1000
