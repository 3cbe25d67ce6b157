"""The time of one prediction, which the gate holds against the contract's budget."""

from __future__ import annotations

import time

import numpy as np

from hedonic.data.table import Columns, take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel

N_TIMED, N_ROUNDS = 50, 5


def latency_ms(model: PortableModel, data: TrainingData) -> float:
    """Return the median time of one estimate in milliseconds, over the first 50 holdout rows.

    Of each row the shortest of five times counts: what else the machine does makes a time longer, and is no
    fault of the model.
    """
    holdout = data.split.holdout[:N_TIMED]
    rows = [take(data.columns, holdout[n : n + 1]) for n in range(len(holdout))]
    model.estimate(rows[0])
    spent = np.array([[_seconds(model, row) for row in rows] for _ in range(N_ROUNDS)])
    return float(np.median(spent.min(axis=0))) * 1000


def _seconds(model: PortableModel, row: Columns) -> float:
    began = time.perf_counter()
    model.estimate(row)
    return time.perf_counter() - began
