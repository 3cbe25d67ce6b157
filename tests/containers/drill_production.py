"""The composition with the production override, brought up: TLS at its one port, and nobody sees anything
without saying who they are, while the parts themselves know each other.
"""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hedonic.images.engine import Engine
from tests.containers.composed import BEARER, DATASET, POSTGRES_PASSWORD, Site, composed, documented
from tests.containers.conftest import TOKEN, command
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.slow]

(UP,) = documented("For others to reach")
DOMAIN = "prices.example.com"
PREFECT, PERSON = "admin:what-prefect-asks-for", "anna:what-the-proxy-asks-for"
SEARCH = "/ajax-api/2.0/mlflow/runs/search"
# What each part shows who is known to it, and by what.
PAGES = (
    ("", "/", "Hedonic</title>", BEARER),
    ("", f"/endpoints/{DATASET}/livez", "", BEARER),
    ("prefect", "/api/admin/version", "3.", PREFECT),
    ("mlflow", "/", "<title>MLflow", PERSON),
    ("optuna", "/dashboard", "<title>Optuna", PERSON),
    ("prometheus", "/-/ready", "Prometheus Server is Ready", PERSON),
)


def credentials(known: str) -> str:
    """Return an Authorization header of a name and a password; a token's is one already."""
    return known if known == BEARER else f"Basic {base64.b64encode(known.encode()).decode()}"


def certify(folder: Path) -> ssl.SSLContext:
    """Write a key and a certificate for the domain and the names below it; return who trusts it."""
    subprocess.run(
        [
            command("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN}",
            "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The composition for others to reach."""
    folder = tmp_path_factory.mktemp("production")
    tls, passwords = folder / "tls", folder / "htpasswd"
    tls.mkdir()
    trusting = certify(tls)
    name, _, password = PERSON.partition(":")
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", password], check=True, capture_output=True, text=True
    ).stdout.strip()
    passwords.write_text(f"{name}:{hashed}\n")
    more = {
        "DOMAIN": DOMAIN,
        "SCHEME": "https",
        "PREFECT_AUTH": PREFECT,
        "GRAFANA_PASSWORD": "what-grafana-asks-for",
        "TLS": str(tls),
        "HTPASSWD": str(passwords),
    }
    with composed(engine, folder, UP, DOMAIN, trusting, more) as site:
        yield site


@pytest.fixture(scope="module")
def first(site: Site) -> dict[str, Any]:
    """What the first champion answers: the watcher, the worker and the server know each other."""
    return site.champion()


def test_every_part_is_healthy_and_the_first_champion_comes_of_itself(
    site: Site, first: dict[str, Any]
) -> None:
    assert first["predictions"][0]["estimate"] > 0
    site.require_whole()


@pytest.mark.parametrize(("part", "path", "word", "known"), PAGES)
def test_each_page_opens_to_who_is_known_and_to_nobody_else(
    site: Site, first: dict[str, Any], part: str, path: str, word: str, known: str
) -> None:
    status, headers, content = site.ask(path, part=part, credentials=credentials(known))
    assert status == 200, content
    assert word in content.decode()
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    others = {BEARER: f"{BEARER}s", PREFECT: PERSON, PERSON: PREFECT}[known]
    open_to_all = path.endswith("/livez")  # a load balancer asks it, and it tells nothing
    for asking in (None, credentials(others) if known != BEARER else others):
        assert site.ask(path, part=part, credentials=asking)[0] == (200 if open_to_all else 401)


def test_an_estimate_is_given_to_who_has_the_token_alone(site: Site, first: dict[str, Any]) -> None:
    body = {"instances": [site.row]}
    assert site.ask(f"/endpoints/{DATASET}/predict", body, credentials=None)[0] == 401
    assert site.ask(f"/endpoints/{DATASET}/predict", body)[0] == 200


def test_mlflows_own_pages_may_ask_it_and_others_may_not(site: Site, first: dict[str, Any]) -> None:
    def asked_by(origin: str) -> int:
        return site.ask(SEARCH, {"experiment_ids": ["0"]}, "mlflow", credentials(PERSON), origin)[0]

    assert asked_by(f"https://{site.host('mlflow')}") == 200
    assert asked_by("https://elsewhere.example.com") == 403


def test_the_figures_of_an_endpoint_are_not_shown_outside(site: Site, first: dict[str, Any]) -> None:
    assert site.ask(f"/endpoints/{DATASET}/metrics")[0] == 404


def test_without_tls_nothing_is_answered(site: Site, first: dict[str, Any]) -> None:
    status, _, content = replace(site, tls=None).ask("/")
    assert (status, b"plain HTTP request was sent to HTTPS port" in content) == (400, True)


def test_the_front_page_finds_every_part_well(site: Site, first: dict[str, Any]) -> None:
    def unwell() -> list[Any]:
        state = site.told("/api/state")
        return [*state["unknown"], *(part for part in state["parts"] if part["health"] != "ready")]

    wait_for(lambda: not unwell(), lambda: str(unwell()))


def test_prometheus_scrapes_the_endpoint(site: Site, first: dict[str, Any]) -> None:
    def up() -> bool:
        path = "/api/v1/query?query=up"
        answer = site.told(path, part="prometheus", credentials=credentials(PERSON))
        found = {one["metric"].get("dataset"): one["value"][1] for one in answer["data"]["result"]}
        return found.get(DATASET) == "1"

    wait_for(up, site.logs)


def test_an_endpoint_has_the_memory_and_the_processor_that_it_was_given(site: Site) -> None:
    given = site.facts()[f"endpoint-{DATASET}"]["HostConfig"]
    assert (given["Memory"], given["NanoCpus"]) == (512 << 20, 1_000_000_000)


def test_no_part_writes_a_secret_into_its_log(site: Site, first: dict[str, Any]) -> None:
    secrets = {TOKEN, POSTGRES_PASSWORD, *(one.partition(":")[2] for one in (PREFECT, PERSON))}
    written = site.logs("--tail", "all")
    assert len(written) > 10_000
    assert {secret for secret in secrets if secret in written} == set()
