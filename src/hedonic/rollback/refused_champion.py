"""The refused champion: one that is not served is told with the way back, and never replaced quietly."""

from __future__ import annotations

from hedonic.answer import endpoint_info, endpoint_url
from hedonic.data.contract import Contract
from hedonic.endpoint import Endpoint, process_name
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.external_endpoint import image_to_set
from hedonic.model.manifest import verify_release
from hedonic.promotion.record import Record
from hedonic.roll_out import start_endpoint
from hedonic.rollback.alerts import settle_refused, tell_refused
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor

_ANSWER_LIMIT_S = 3.0


def start_or_tell(settings: Settings, contract: Contract) -> Endpoint:
    """Return the endpoint of a champion, once it serves; where it does not, an alert names the way back.

    Raises:
        UserError: there is no champion, or its port is in use.
        HedonicError: the champion is not served; the message says why, and how to go back.
    """
    try:
        endpoint = start_endpoint(settings, contract.name, contract.serve.port)
    except UserError:
        raise
    except HedonicError as err:
        tell_refused(settings, contract.name, str(err))
        raise HedonicError(f"{err} Go back: hedonic rollback {contract.name}") from err
    if endpoint.to_do is None:
        settle_refused(settings, contract.name)
    return endpoint


def why_not_served(settings: Settings, contract: Contract, champion: Record) -> str | None:
    """Return why the champion is not served; None where nothing is wrong, or no endpoint is to run."""
    release = champion.release or ""
    if (damaged := damage(settings, champion)) is not None:
        return damaged
    info, name = endpoint_info(settings, contract, _ANSWER_LIMIT_S), process_name(contract.name)
    if info is None:
        told = f"{endpoint_url(settings, contract)} does not answer (yet); see: hedonic logs {name}."
        return told if name in Supervisor(settings).names() else None
    if info["model"]["release"] == release:
        return None
    refused = info.get("refused") or {}
    why = f": {refused['reason']}" if refused.get("release") == release else ""
    if settings.roll_out == "external":
        why = f". {image_to_set(settings, contract.name, release, champion.bento)}"
    return f"{endpoint_url(settings, contract)} serves release {info['model']['release'][:16]}{why}"


def damage(settings: Settings, champion: Record) -> str | None:
    """Return what is wrong with the champion's files; None where each is what its manifest says."""
    release = champion.release or ""
    try:
        verify_release(settings.releases / champion.dataset / release, release)
    except ReleaseRefused as err:
        return str(err)
    return None
