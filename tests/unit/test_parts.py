"""The parts of `hedonic up`: where they may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedonic.errors import UserError
from hedonic.parts import refuse_open_pages
from hedonic.settings import Ports, Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "localhost"])
def test_on_loopback_everything_may_start(tmp_path: Path, host: str) -> None:
    refuse_open_pages(Settings(root=tmp_path, home=tmp_path, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "models.example"])
def test_beyond_loopback_nothing_starts_with_a_token_or_without_and_the_tunnel_is_named(
    tmp_path: Path, host: str
) -> None:
    settings = Settings(root=tmp_path, home=tmp_path, host=host, api_token="t", ports=Ports(mlflow=5001))
    ports = (4200, 5001, 8080, 8000)
    tunnel = " ".join(f"-L {port}:127.0.0.1:{port}" for port in ports)
    with pytest.raises(UserError, match=f"HEDONIC_HOST={host}: beyond loopback .* ssh {tunnel} USER@"):
        refuse_open_pages(settings)
