"""An endpoint's answer: how it is asked for and how it is told."""

from __future__ import annotations

import http.client
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from hedonic.data.contract import Contract
from hedonic.errors import HedonicError, UserError
from hedonic.settings import Settings

_TIMEOUT_S = 30.0


def endpoint_url(settings: Settings, contract: Contract) -> str:
    """Return the address of a data set's endpoint."""
    return settings.endpoint_address(contract.name, contract.serve.port)


def example_row(contract: Contract) -> dict[str, Any]:
    """Return a row to ask about: the contract's examples."""
    return {column.name: column.example for column in contract.inputs if column.example is not None}


def curl(url: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the command that asks the endpoint about the rows, ready to paste into a shell."""
    body = shlex.quote(json.dumps({"instances": list(rows)}, separators=(",", ":")))
    return f"curl -s {url.rstrip('/')}/predict -H 'content-type: application/json' -d {body}"


def ask(settings: Settings, contract: Contract, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the endpoint's answer on the rows, as it came.

    Raises:
        UserError: nothing listens, or the rows are refused; every problem is named.
        HedonicError: the endpoint failed.
    """
    connection, base = _connection(endpoint_url(settings, contract))
    try:
        body = json.dumps({"instances": list(rows)}, allow_nan=False)
        connection.request(
            "POST", f"{base}/predict", body, {"content-type": "application/json", **settings.authorization}
        )
        reply = connection.getresponse()
        status, raw = reply.status, reply.read()
    except ConnectionRefusedError as err:
        raise UserError(
            f"{contract.name}: nothing listens at {endpoint_url(settings, contract)}. "
            f"Start it with: hedonic serve {contract.name}"
        ) from err
    except (OSError, http.client.HTTPException) as err:
        raise HedonicError(f"{endpoint_url(settings, contract)}/predict: no answer: {err!r}") from err
    except ValueError as err:
        raise UserError(f"the row cannot be sent as JSON: {err}") from err
    finally:
        connection.close()
    content = _parse(raw)
    if status == http.HTTPStatus.OK and content is not None and content.get("predictions"):
        return content
    kind = (
        UserError
        if http.HTTPStatus.BAD_REQUEST <= status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        else HedonicError
    )
    raise kind(f"{endpoint_url(settings, contract)}/predict answered {status}: {_problems(content, raw)}")


def endpoint_info(
    settings: Settings, contract: Contract, timeout_s: float = _TIMEOUT_S
) -> dict[str, Any] | None:
    """Return what the endpoint of a data set says of itself; None where none answers in that time.

    Raises:
        UserError: it asks for a token that we do not have.
    """
    connection, base = _connection(endpoint_url(settings, contract), timeout_s)
    try:
        connection.request("GET", f"{base}/model/info", headers=settings.authorization)
        reply = connection.getresponse()
        status, raw = reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if status == http.HTTPStatus.UNAUTHORIZED:
        raise UserError(f"{endpoint_url(settings, contract)} asks for its token: set HEDONIC_API_TOKEN.")
    content = _parse(raw)
    known = status == http.HTTPStatus.OK and content is not None and content.get("dataset") == contract.name
    return content if known else None


def describe(prediction: Mapping[str, Any]) -> str:
    """Return a prediction in words: the estimate with its unit, its intervals and its warnings."""
    lines = [f"{prediction['estimate']:,.0f} {prediction['unit']}"]
    for level in ("80", "90"):
        low, high = prediction[f"interval_{level}"]
        lines.append(f"  {level} % interval: {low:,.0f} to {high:,.0f}")
    confidence = prediction.get("confidence")
    if confidence:
        lines.append(f"  confidence {confidence['grade']}: {confidence['reason']}")
    lines += [f"  warning: {warning}" for warning in prediction.get("warnings", ())]
    return "\n".join(lines)


def _connection(url: str, timeout_s: float = _TIMEOUT_S) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to the host of the address, and the path below which it answers."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_s), parts.path


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(raw)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _problems(content: dict[str, Any] | None, raw: bytes) -> str:
    error = (content or {}).get("error")
    if not isinstance(error, dict):
        return raw[:200].decode(errors="replace")
    problems = [f"\n  {p.get('path')}: {p.get('message')}" for p in error.get("problems", ())]
    return f"{error.get('message')}{''.join(problems)}"
