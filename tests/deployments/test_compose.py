"""The compose files, rendered for both environments, and what holds of each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.project import ROOT

DEPLOYMENTS = ROOT / "deployments"
SECRETS = {
    "POSTGRES_PASSWORD": "secret-of-postgres",
    "HEDONIC_API_TOKEN": "secret-token",
    "WORKER_IMAGE": "hedonic-worker:0123456789abcdef",
}
PRODUCTION = {
    **SECRETS,
    "DOMAIN": "prices.example.com",
    "SCHEME": "https",
    "PUBLIC_PORT": "",
    "LISTEN": "0.0.0.0:443",
    "PREFECT_AUTH": "admin:secret-of-prefect",
    "GRAFANA_PASSWORD": "secret-of-grafana",
    "TLS": "/tls",
    "HTPASSWD": "/htpasswd",
}
FILES = {"one-host": (["compose.yaml"], SECRETS)}
FILES["production"] = (["compose.yaml", "compose.production.yaml"], PRODUCTION)


def compose() -> list[str]:
    """Return compose's command."""
    for command in (["docker", "compose"], ["docker-compose"]):
        found = shutil.which(command[0]) and subprocess.run(
            [*command, "version"], capture_output=True, check=False
        )
        if found and found.returncode == 0:
            return command
    pytest.skip("no docker compose on this machine: apt-get install docker-compose")


def config(files: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    named = [argument for file in files for argument in ("-f", str(DEPLOYMENTS / file))]
    return subprocess.run(
        [*compose(), *named, "config"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        cwd=DEPLOYMENTS, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module", params=FILES)
def rendered(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    told = config(*FILES[request.param])
    assert told.returncode == 0, told.stderr
    return request.param, yaml.safe_load(told.stdout)


def test_the_proxy_alone_publishes_a_port(rendered):
    environment, content = rendered
    ports = {name: service.get("ports", []) for name, service in content["services"].items()}
    assert {name for name, published in ports.items() if published} == {"proxy"}
    wanted = "127.0.0.1" if environment == "one-host" else "0.0.0.0"
    assert wanted in str(ports["proxy"])
    assert content["networks"]["inside"]["internal"] is True
    outside = {name for name, service in content["services"].items() if "outside" in service["networks"]}
    assert outside == {"proxy"}


def test_dependants_wait_for_ready_and_everything_comes_back(rendered):
    _, content = rendered
    services = content["services"]
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        for needed, how in (service.get("depends_on") or {}).items():
            assert how["condition"] == "service_healthy", f"{name} -> {needed}"
            assert services[needed]["healthcheck"]["test"], needed


def test_what_is_ours_may_do_nothing_that_it_need_not(rendered):
    _, content = rendered
    ours = [s for s in content["services"].values() if "hedonic" in s["image"]]
    assert len(ours) >= 8
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert any("no-new-privileges" in option for option in service["security_opt"])


def test_every_volume_that_is_mounted_is_kept(rendered):
    _, content = rendered
    mounted = re.findall(
        r"(?<![./\w])(postgres|state|artifacts|prometheus|grafana):/", yaml.safe_dump(content)
    )
    assert set(mounted) | {"state"} >= set(content["volumes"]) - {"grafana"}


def test_every_address_that_people_are_told_is_the_published_one(rendered):
    environment, content = rendered
    base = {"one-host": "http://{}localhost:8000", "production": "https://{}prices.example.com"}[environment]
    settings = content["services"]["worker"]["environment"]
    pages = {name: url for name, url in settings.items() if name.startswith("HEDONIC_PAGES__")}
    assert len(pages) == 5
    told = {**pages, "ui": settings["PREFECT_UI_URL"]}
    told["api"] = content["services"]["prefect"]["environment"]["PREFECT_SERVER_UI_API_URL"]
    parts = {"prefect.", "mlflow.", "optuna.", ""}
    assert {url for url in told.values() if not any(url.startswith(base.format(p)) for p in parts)} == set()
    mlflow = content["services"]["mlflow"]["command"]
    assert f"--cors-allowed-origins={base.format('mlflow.')}" in mlflow


def test_production_asks_who_calls():
    told = config(*FILES["production"])
    services = yaml.safe_load(told.stdout)["services"]
    assert services["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == PRODUCTION["PREFECT_AUTH"]
    callers = ("worker", "watcher", "front-page")
    assert {services[name]["environment"]["PREFECT_API_AUTH_STRING"] for name in callers} == {
        PRODUCTION["PREFECT_AUTH"]
    }
    mounted = yaml.safe_dump(services["proxy"]["volumes"])
    assert "proxy/guarded" in mounted
    assert "proxy/open" not in mounted
    guarded = (DEPLOYMENTS / "proxy" / "guarded" / "tools.conf").read_text()
    assert "auth_basic_user_file" in guarded
    proxy = (DEPLOYMENTS / "proxy" / "templates" / "hedonic.conf.template").read_text()
    for tool in ("mlflow", "optuna", "prometheus"):
        server = next(part for part in proxy.split("server {") if f"server_name {tool}." in part)
        assert "include /etc/nginx/hedonic/tools.conf;" in server


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "HEDONIC_API_TOKEN", "WORKER_IMAGE"])
def test_without_a_secret_nothing_starts(missing):
    told = config(["compose.yaml"], {name: value for name, value in SECRETS.items() if name != missing})
    assert told.returncode != 0
    assert "env.example" in told.stderr


@pytest.mark.parametrize("missing", ["PREFECT_AUTH", "DOMAIN", "TLS", "HTPASSWD", "GRAFANA_PASSWORD"])
def test_without_what_guards_it_production_does_not_start(missing):
    files, variables = FILES["production"]
    told = config(files, {name: value for name, value in variables.items() if name != missing})
    assert told.returncode != 0


def test_every_variable_is_explained_and_no_secret_has_a_value():
    asked = set()
    for file in ("compose.yaml", "compose.production.yaml"):
        asked |= set(re.findall(r"\$\{([A-Z_]+):\?", (DEPLOYMENTS / file).read_text()))
    example = (DEPLOYMENTS / "env.example").read_text()
    assert asked <= set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    assert re.findall(r"^[A-Z_]+=(.+)$", example, re.MULTILINE) == []
