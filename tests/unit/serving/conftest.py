"""A prediction log of a test's own, and the prices that are reported to it."""

import pytest

from hedonic.serving.feedback import Feedback
from hedonic.serving.prediction_log_store import PredictionLogStore


@pytest.fixture
def store(tmp_path):
    opened = PredictionLogStore(str(tmp_path / "prediction_log.db"))
    yield opened
    opened.close()


@pytest.fixture
def feedback(store):
    return Feedback(store)
