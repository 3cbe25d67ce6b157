"""An endpoint that runs elsewhere: it is waited for and checked, and never started or stopped by us."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from hedonic.endpoint import endpoint_state, start_endpoint, stop_endpoint
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.settings import Addresses, Settings
from hedonic.supervisor import Supervisor
from tests.endpoints import start_endpoint as run_elsewhere
from tests.ports import free_port
from tests.serving.conftest import ROOT, crown
from tests.serving.test_endpoint import wrong_release
from tests.tiny_release import tiny_model, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def elsewhere(home, url) -> Settings:
    return Settings(root=ROOT, home=home, services=Addresses(endpoint=url))


def test_an_endpoint_elsewhere_is_waited_for_and_never_started_or_stopped_by_us(tmp_path):
    home = tmp_path / ".hedonic"
    first = tiny_release(home / "releases")
    with ExitStack() as stack:
        served, _ = run_elsewhere(
            stack, home, first, HEDONIC_RELEASE_URI="champion:tiny_town", HEDONIC_FOLLOW_S="0.1"
        )
        settings = elsewhere(home, f"http://127.0.0.1:{served.port}")
        endpoint = start_endpoint(settings, "tiny_town", 3000)
        assert (endpoint.release, endpoint.pid) == (first.name, None)
        better = tiny_release(home / "releases", tiny_model(seed=5))
        crown(home, better)
        assert start_endpoint(settings, "tiny_town", 3000).release == better.name  # in place, by the pointer
        crown(home, wrong_release(home / "releases"))
        with pytest.raises(ReleaseRefused, match=f"{better.name[:16]} is still served"):
            start_endpoint(settings, "tiny_town", 3000)
        assert wait_for(lambda: endpoint_state(settings, "tiny_town", 3000)).release == better.name
        with pytest.raises(UserError, match="container of its own"):
            stop_endpoint(settings, "tiny_town")
        assert Supervisor(settings).pid() is None


def test_an_endpoint_elsewhere_that_does_not_come_is_told(tmp_path):
    home = tmp_path / ".hedonic"
    crown(home, tiny_release(home / "releases"))
    settings = elsewhere(home, f"http://127.0.0.1:{free_port()}")
    assert endpoint_state(settings, "tiny_town", 3000) is None
    with pytest.raises(HedonicError, match="Does its container run"):
        start_endpoint(settings, "tiny_town", 3000, limit_s=0.2)
