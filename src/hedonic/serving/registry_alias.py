"""What an alias of a model registry names now: asked of MLflow's tracking server over its REST API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.served_settings import SourceSettings

TAG_RELEASE = "hedonic.release"
TIMEOUT_S = 10.0
_PATH = "/api/2.0/mlflow/registered-models/alias"


@dataclass(frozen=True, slots=True)
class RegistryAlias:
    """An alias of a registered model."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class RegisteredRelease:
    """The model version that an alias names, and the digest of the release that it became."""

    number: str
    release: str


def read_alias(asked: RegistryAlias, settings: SourceSettings) -> RegisteredRelease:
    """Return the version that the alias names now.

    Raises:
        UserError: MLFLOW_TRACKING_URI is not the address of a server.
        ReleaseRefused: there is no such alias, or its version became no release.
        HedonicError: the server does not answer, or not as MLflow does.
    """
    import httpx

    server = settings.tracking_uri
    where = f"models:/{asked.name}@{asked.alias}"
    if server is None or not re.match(r"https?://", server):
        raise UserError(
            f"{where}: is asked of a tracking server, and MLFLOW_TRACKING_URI is {server or 'not set'}. "
            "Set it to the server's address (http:// or https://)."
        )
    try:
        answer = httpx.get(
            f"{server.rstrip('/')}{_PATH}",
            params={"name": asked.name, "alias": asked.alias},
            headers=_bearer(settings),
            auth=_basic(settings),
            timeout=TIMEOUT_S,
        )
    except httpx.HTTPError as err:
        raise HedonicError(f"{where}: {server} does not answer: {err or type(err).__name__}") from err
    content = _json(answer)
    if answer.status_code in (400, 404) and content.get("error_code"):
        raise ReleaseRefused(f"{where}: {server} says: {content.get('message')}")
    version = content.get("model_version")
    if answer.status_code != 200 or not isinstance(version, dict):
        raise HedonicError(f"{where}: {server} answers {answer.status_code}: {answer.text[:300]!r}")
    tags = {tag.get("key"): tag.get("value") for tag in version.get("tags", [])}
    release = str(tags.get(TAG_RELEASE, ""))
    if not re.fullmatch(r"[0-9a-f]{64}", release):
        raise ReleaseRefused(
            f"{where}: is version {version.get('version')}, whose tag {TAG_RELEASE} is {release!r}, not a "
            "release's digest. Point the alias at a version that was released: `hedonic run` does."
        )
    return RegisteredRelease(str(version.get("version")), release)


def _json(answer: Any) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _basic(settings: SourceSettings) -> tuple[str, str] | None:
    user, password = settings.tracking_username, settings.tracking_password
    return (user, password.get_secret_value()) if user and password else None


def _bearer(settings: SourceSettings) -> dict[str, str]:
    """Return the header with the token; user and password go before it, as in MLflow's own client."""
    token = settings.tracking_token
    if token is None or _basic(settings):
        return {}
    return {"Authorization": f"Bearer {token.get_secret_value()}"}
