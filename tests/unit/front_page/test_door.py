"""The door: who may look, under which name, and what the page may load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hedonic.errors import UserError
from hedonic.front_page.app import make_app
from hedonic.settings import Settings


def client(settings: Settings, host: str = "127.0.0.1") -> TestClient:
    return TestClient(make_app(settings, rounds=False), base_url=f"http://{host}")


def test_beyond_loopback_without_a_token_it_does_not_listen(settings: Settings) -> None:
    with pytest.raises(UserError, match="HEDONIC_API_TOKEN"):
        make_app(settings.model_copy(update={"host": "0.0.0.0"}))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic !"}, 401),
        ({"Authorization": "Bearer s3cret"}, 200),
        ({"Authorization": "Bearer 0ld"}, 200),
        ({"Authorization": "Basic YW5uOnMzY3JldA=="}, 200),  # ann:s3cret
    ],
)
def test_with_tokens_only_who_brings_one_may_look(
    settings: Settings, headers: dict[str, str], status: int
) -> None:
    given = {"host": "0.0.0.0", "api_token": "s3cret,0ld"}
    with client(settings.model_copy(update=given), "page.example.com") as page:
        assert page.get("/", headers=headers).status_code == status
        assert page.get("/api/state", headers=headers).status_code == status
        assert page.get("/data-docs/index.html", headers=headers).status_code in (status, 404)
        assert page.get("/healthz").status_code == 200


def test_on_loopback_another_host_name_is_refused(settings: Settings) -> None:
    with client(settings, "evil.example.com") as page:
        assert page.get("/api/state").status_code == 400


def test_the_page_allows_its_own_style_and_script_and_nothing_else(settings: Settings) -> None:
    with client(settings) as page:
        answer = page.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert len(re.findall("'sha256-", policy)) == 2
    assert not re.search(r"""(src|href)=["']?(https?:)?//(?!127\.0\.0\.1)""", answer.text)
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


def test_data_docs_are_served_and_nothing_beside_them(settings: Settings, tmp_path: Path) -> None:
    settings.data_docs.mkdir(parents=True)
    (settings.data_docs / "index.html").write_text("<h1>Data Docs</h1>")
    (settings.home / "secret").write_text("no")
    (settings.data_docs / "link").symlink_to(settings.home / "secret")
    with client(settings) as page:
        assert "Data Docs" in page.get("/data-docs/index.html").text
        assert "Data Docs" in page.get("/data-docs/").text
        for path in ("/data-docs/../secret", "/data-docs/%2e%2e/secret", "/data-docs/link", "/secret"):
            assert page.get(path).status_code == 404, path
