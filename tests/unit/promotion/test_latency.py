"""The time of one prediction is the model's own, not that of what runs beside it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hedonic.promotion.latency import latency_ms

N = 80


class Clocked:
    """A model whose estimates take a time by a clock of its own."""

    def __init__(self, seconds):
        self.now, self.asked, self._seconds = 0.0, [], seconds

    def estimate(self, columns):
        (area,) = columns["area"]
        self.now += self._seconds(int(area), self.asked.count(int(area)))
        self.asked.append(int(area))


@pytest.fixture
def measured(monkeypatch):
    """Return the milliseconds that are told of a model, and the rows that it was asked for."""

    def measure(seconds, n=N):
        model = Clocked(seconds)
        monkeypatch.setattr("hedonic.promotion.latency.time.perf_counter", lambda: model.now)
        data = SimpleNamespace(
            columns={"area": np.arange(N)}, split=SimpleNamespace(holdout=np.arange(N)[::-1][:n])
        )
        return latency_ms(model, data), set(model.asked)

    return measure


def test_it_is_the_median_over_the_first_fifty_rows_of_the_holdout(measured):
    told, asked = measured(lambda row, _: 0.001 if row >= 50 else 0.009)
    assert (told, asked) == (pytest.approx(1.0), set(range(30, 80)))
    assert measured(lambda row, _: 0.001 if row >= 60 else 0.009)[0] == pytest.approx(9.0)


def test_what_else_the_machine_does_now_and_then_is_not_counted(measured):
    assert measured(lambda _, times: 0.100 if times in (0, 1, 3) else 0.002)[0] == pytest.approx(2.0)


def test_a_model_that_is_always_slow_is_slow(measured):
    assert measured(lambda *_: 0.007)[0] == pytest.approx(7.0)


def test_fewer_rows_are_enough(measured):
    assert measured(lambda *_: 0.003, n=4) == (pytest.approx(3.0), {76, 77, 78, 79})
