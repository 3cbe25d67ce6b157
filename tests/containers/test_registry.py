"""A push to a real registry on loopback: the digest is written down, and what is pulled back is the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from hedonic.errors import HedonicError
from hedonic.images.book import ImageBook
from hedonic.images.engine import Engine
from hedonic.images.pushing import push_image
from hedonic.model.manifest import ReleaseRecord, read_record, verify_release
from hedonic.promotion.release import write_record
from tests.containers.conftest import Town, command, docker
from tests.ports import free_port
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.slow]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a port of loopback, in a folder of its own."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    config = folder / "config.yml"
    content = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config.write_text(json.dumps(content))
    with (folder / "log").open("w") as log:
        serve = [command("docker-registry", "docker-registry"), "serve", str(config)]
        process = subprocess.Popen(serve, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(port), (folder / "log").read_text)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/v2/", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_it_is_pushed_written_down_and_pulled_back_equal(town: Town, engine: Engine, registry: str) -> None:
    settings, release = town.settings, town.release
    record = ReleaseRecord(
        dataset="tiny_town", release=release.name, created_by="us", created_at="2026-01-01T00:00:00+00:00"
    )
    write_record(release, record)
    assert "images" not in json.loads((release / "record.json").read_text())
    repository, tag = f"{registry}/prices/tiny_town", town.image.name.partition(":")[2]
    pushed = push_image(settings, engine, town.image, repository)
    digest = pushed.pushed[f"{repository}:{tag}"]
    assert digest.startswith("sha256:")
    assert read_record(release).images == {f"{repository}:{tag}": digest}
    assert verify_release(release).digest == release.name  # outside every digest
    assert ImageBook(settings).read(town.image.name) == pushed

    docker("rmi", f"{repository}:{tag}")
    assert engine.image(f"{repository}@{digest}") is None
    docker("pull", "--quiet", f"{repository}@{digest}")
    assert engine.image(f"{repository}@{digest}").id == town.image.id
    told = urllib3.request(
        "HEAD",
        f"http://{registry}/v2/prices/tiny_town/manifests/{tag}",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    assert told.headers["Docker-Content-Digest"] == digest


def test_a_registry_that_does_not_answer_is_told_and_nothing_is_written_down(
    town: Town, engine: Engine, tmp_path: Path
) -> None:
    repository = f"127.0.0.1:{free_port()}/prices/tiny_town"
    with pytest.raises(HedonicError, match=r"was not taken|cannot be pushed"):
        push_image(town.settings, engine, town.image, repository)
    known = ImageBook(town.settings).read(town.image.name)
    assert not [name for name in known.pushed if name.startswith(repository)]
    docker("rmi", f"{repository}:{town.image.name.partition(':')[2]}")
