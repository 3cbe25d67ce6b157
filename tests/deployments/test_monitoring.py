"""What Prometheus is told to watch and Grafana to show, on a real Prometheus that scrapes a real endpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import ReleaseRecord
from hedonic.promotion.release import write_record
from tests.endpoints import crown, start_endpoint
from tests.ports import free_port
from tests.project import ROOT
from tests.tiny_release import ROW, tiny_model, tiny_release
from tests.waiting import wait_for

PROMETHEUS = ROOT / "deployments" / "prometheus"
BOARD = json.loads((ROOT / "deployments" / "grafana" / "dashboards" / "endpoints.json").read_text())
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in BOARD["panels"]
    for target in panel["targets"]
}

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no Prometheus on this machine: apt-get install prometheus"
)


@needs_prometheus
def test_every_alert_fires_and_stays_silent():
    told = subprocess.run(
        ["promtool", "test", "rules", str(PROMETHEUS / "hedonic.tests.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    rules = yaml.safe_load((PROMETHEUS / "hedonic.rules.yml").read_text())
    tests = yaml.safe_load((PROMETHEUS / "hedonic.tests.yml").read_text())["tests"]
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    silent, firing = ({one["alertname"] for one in test["alert_rule_test"]} for test in tests)
    assert silent == firing == names


@needs_prometheus
def test_prometheus_takes_our_configuration():
    told = subprocess.run(
        ["promtool", "check", "config", str(PROMETHEUS / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


def test_panels_are_of_our_own_metrics_and_have_their_source_provisioned():
    sources = yaml.safe_load(
        (ROOT / "deployments" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    known = {source["uid"] for source in sources["datasources"]}
    used = {target["datasource"]["uid"] for panel in BOARD["panels"] for target in panel["targets"]}
    assert used <= known
    assert all("hedonic_" in query for query in QUERIES.values())


class Prometheus:
    """A Prometheus of the test's own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        found: list[dict[str, Any]] = content["data"]["result"]
        return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped an endpoint in all its moods: asked about odd houses, and rolled out."""
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus on this machine: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("scraped")
    home = folder / ".hedonic"
    with ExitStack() as stack:
        first, second = released(home), released(home, tiny_model(seed=5))
        follows = {"HEDONIC_RELEASE_URI": "champion:tiny_town", "HEDONIC_FOLLOW_S": "0.1"}
        served, _ = start_endpoint(stack, home, first, HEDONIC_GUARD__METRICS_OPEN="true", **follows)
        prometheus = Prometheus(run_prometheus(stack, folder, served.port))
        crown(home, second)
        deadline = time.monotonic() + 180
        # Until every query has what it is about: a rate needs two scrapes with something between them.
        while missing := [name for name, query in QUERIES.items() if not prometheus.query(spoken(query))]:
            assert time.monotonic() < deadline, f"nothing to show for {missing}"
            assert served.predict(ROW, {**ROW, "area": 9999}).status == 200
        yield prometheus


def released(home: Path, model: PortableModel | None = None) -> Path:
    """Return a release with the record that says when it was made."""
    folder = tiny_release(home / "releases", model)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = ReleaseRecord(dataset="tiny_town", release=folder.name, created_by="a test", created_at=now)
    write_record(folder, record)
    return folder


def run_prometheus(stack: ExitStack, folder: Path, target: int) -> int:
    """Return the port of a Prometheus with our configuration, but for who is scraped and how often."""
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / "hedonic.rules.yml")]
    endpoints = configuration["scrape_configs"][0]
    endpoints["static_configs"] = [{"targets": [f"127.0.0.1:{target}"], "labels": {"dataset": "tiny_town"}}]
    configuration["scrape_configs"] = [endpoints]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
                return port
        except OSError:
            told = (folder / "prometheus.log").read_text()[-2000:]
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)


def spoken(query: str) -> str:
    """Return the query as Grafana would send it, with all data sets chosen."""
    return query.replace("$dataset", ".*").replace("$__rate_interval", "1m")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_every_panel_has_something_to_show(scraped, name):
    # A scrape that took longer than its second leaves nothing to find until the next.
    found = wait_for(lambda: scraped.query(spoken(QUERIES[name])))
    assert {series["metric"]["dataset"] for series in found} == {"tiny_town"}


@pytest.mark.slow
def test_no_alert_fires_on_an_endpoint_that_is_well(scraped):
    wait_for(lambda: [one["value"][1] for one in scraped.query('up{job="endpoints"}')] == ["1"])
    assert scraped.query('ALERTS{alertstate="firing"}') == []
