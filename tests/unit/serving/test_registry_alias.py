"""What a registry's alias names: asked of MLflow's REST API, refused where it names no release."""

import base64

import pytest

from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.promotion.registry import model_version
from hedonic.served_settings import SourceSettings
from hedonic.serving.registry_alias import TAG_RELEASE, RegistryAlias, read_alias
from tests.ports import free_port
from tests.registry import registry_server

DIGEST = "a" * 64
CHAMPION = RegistryAlias("hedonic-tiny_town", "champion")


def settings(url, **more):
    return SourceSettings(tracking_uri=url, **more)


def test_an_alias_is_read_each_time_it_is_asked_for():
    aliases = {("hedonic-tiny_town", "champion"): ("3", DIGEST)}
    with registry_server(aliases) as url:
        first = read_alias(CHAMPION, settings(url))
        assert (first.number, first.release) == ("3", DIGEST)
        aliases[("hedonic-tiny_town", "champion")] = ("4", "b" * 64)
        assert read_alias(CHAMPION, settings(f"{url}/")).release == "b" * 64


def test_the_tag_is_the_one_that_promotion_writes():
    assert TAG_RELEASE == model_version.TAG_RELEASE


@pytest.mark.parametrize("uri", [None, "sqlite:////srv/mlflow.db", "/srv/mlruns", "databricks"])
def test_what_is_no_tracking_server_is_refused_with_what_to_set(uri):
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI is .* Set it to the server's address"):
        read_alias(CHAMPION, settings(uri))


def test_an_alias_that_is_not_there_is_refused():
    with (
        registry_server({}) as url,
        pytest.raises(ReleaseRefused, match=r"models:/hedonic-tiny_town@champion: .* alias not found"),
    ):
        read_alias(CHAMPION, settings(url))


def test_a_version_that_became_no_release_is_refused():
    with (
        registry_server({("hedonic-tiny_town", "champion"): ("3", "")}) as url,
        pytest.raises(ReleaseRefused, match=r"is version 3, whose tag hedonic.release is ''"),
    ):
        read_alias(CHAMPION, settings(url))


def test_a_server_that_does_not_answer_is_no_refusal_of_a_release():
    with pytest.raises(HedonicError, match=r"does not answer") as raised:
        read_alias(CHAMPION, settings(f"http://127.0.0.1:{free_port()}"))
    assert not isinstance(raised.value, ReleaseRefused)


def test_user_and_password_or_a_token_are_sent_as_mlflows_own_client_sends_them():
    asked = []
    with registry_server({("hedonic-tiny_town", "champion"): ("3", DIGEST)}, asked) as url:
        read_alias(CHAMPION, settings(url))
        read_alias(CHAMPION, settings(url, tracking_token="secret"))
        both = {"tracking_username": "ann", "tracking_password": "pass", "tracking_token": "secret"}
        read_alias(CHAMPION, settings(url, **both))
    basic = base64.b64encode(b"ann:pass").decode()
    assert [headers.get("authorization") for headers in asked] == [None, "Bearer secret", f"Basic {basic}"]


def test_the_secrets_are_in_no_message():
    shown = repr(settings("http://127.0.0.1", tracking_token="secret", tracking_password="hidden"))
    assert "secret" not in shown
    assert "hidden" not in shown
