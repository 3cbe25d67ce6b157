"""A prediction log of a test's own, in either store, and the prices that are reported to it."""

import pytest

from hedonic.serving.feedback import Feedback
from hedonic.serving.prediction_log_store import PredictionLogStore


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """Return where an empty prediction log may be: the same is asked of both stores."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return str(tmp_path / "home" / "prediction_log.db")


@pytest.fixture
def store(url):
    opened = PredictionLogStore(url)
    yield opened
    opened.close()


@pytest.fixture
def feedback(store):
    return Feedback(store)
