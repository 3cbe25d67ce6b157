"""For every test: the numeric environment, before numpy is imported, and examples that repeat."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from tests.drills import TABLE, drill_table
from tests.postgres import postgres, postgres_url

__all__ = ["drill_table", "postgres", "postgres_url"]

os.environ.update(NUMERIC_ENVIRONMENT | QUIET_ENVIRONMENT)
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"  # as `hedonic env` has it
# A red run must be red again: the drills ask for more examples by their own setting.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server, in a database of its own: one for all, for starting it costs many seconds."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        yield


def pytest_terminal_summary(terminalreporter):
    """Print what the drills found."""
    if TABLE.lines:
        terminalreporter.section("drills")
        for line in TABLE:
            terminalreporter.write_line(line)
