"""Where the release comes from, over HTTP: a folder, S3, a registry's alias; the same digest or a refusal."""

import contextlib
import signal
import subprocess
import sys
import urllib.request

import pytest

from hedonic.promotion.registry.aliases import project_champion
from hedonic.promotion.registry.model_version import link_release
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.promotion.release_store import publish_release
from hedonic.settings import Settings
from tests.ports import free_port
from tests.s3 import BUCKET, s3
from tests.serving.conftest import (
    ROOT,
    Served,
    crown,
    serve_command,
    serving_environment,
    wait_until_ready,
)
from tests.tiny_release import ROW, tiny_model, tiny_release
from tests.waiting import wait_for

__all__ = ["s3"]

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def endpoint(home, release, **settings):
    """Return a running `bentoml serve` with these settings."""
    served = Served(free_port(), release, home / "serve.log")
    with served.log.open("w") as log:
        process = subprocess.Popen(
            serve_command(served.port),
            cwd=ROOT,
            env=serving_environment(home) | settings,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(served, process)
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def refusal(home, **settings):
    """Return exit code and words of a `bentoml serve` that ends by itself."""
    done = subprocess.run(
        serve_command(free_port()), cwd=ROOT, env=serving_environment(home) | settings, check=False,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout + done.stderr
    return done.returncode, done.stderr


def info(served):
    return served.ask("GET", "/model/info").json


@contextlib.contextmanager
def tracking_server(settings):
    """Return the address of a real MLflow server on the store of ``settings``."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri, "--port",
        str(port), "--workers", "1", "--default-artifact-root", settings.mlflow_artifacts.as_uri(),
    ]  # fmt: skip
    environment = serving_environment(settings.home) | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (settings.home / "mlflow.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:

            def up():
                assert process.poll() is None, (settings.home / "mlflow.log").read_text()[-2000:]
                with contextlib.suppress(OSError):
                    return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200

            wait_for(up)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def test_a_folder_is_served_as_the_release_that_its_name_says(tmp_path):
    release = tiny_release(tmp_path / "elsewhere")
    with endpoint(tmp_path, release, HEDONIC_RELEASE_URI=release.as_uri()) as served:
        assert info(served)["source"] == {"uri": release.as_uri(), "kind": "folder", "baked": None}
        assert served.predict(ROW).json["model"]["release"] == release.name


def test_another_digest_than_the_one_asked_for_ends_it_before_the_port_opens(tmp_path):
    release = tiny_release(tmp_path / "elsewhere")
    code, said = refusal(tmp_path, HEDONIC_RELEASE_URI=str(release), HEDONIC_RELEASE="b" * 64)
    assert code == 1
    assert "asked for bbbb" in said


def test_a_registry_that_does_not_answer_is_no_reason_to_serve_the_champion_of_the_project(tmp_path):
    crown(tmp_path, tiny_release(tmp_path / "releases"))
    alias = "models:/hedonic-tiny_town@champion"
    code, said = refusal(
        tmp_path, HEDONIC_RELEASE_URI=alias, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}"
    )
    assert code == 1
    assert "does not answer" in said
    code, said = refusal(tmp_path, HEDONIC_RELEASE_URI=alias, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    assert code == 2
    assert "Set it to the server's address" in said


def test_a_release_in_s3_is_fetched_verified_and_served(tmp_path, s3):
    release = tiny_release(tmp_path / "elsewhere")
    uri = publish_release(release, f"s3://{BUCKET}/releases")
    with endpoint(tmp_path, release, HEDONIC_RELEASE_URI=uri) as served:
        assert info(served)["source"] == {"uri": uri, "kind": "s3", "baked": None}
        assert served.predict(ROW).json["model"]["release"] == release.name
    missing = uri[:-1] + ("0" if uri[-1] != "0" else "1")
    code, said = refusal(tmp_path, HEDONIC_RELEASE_URI=missing)
    assert code == 1
    assert "there is no such object" in said


def test_the_alias_of_a_real_registry_is_served_from_s3_and_followed(tmp_path, s3):
    settings = Settings(root=ROOT, home=tmp_path / "factory")
    settings.home.mkdir()
    store = f"s3://{BUCKET}/releases"
    releases = [tiny_release(settings.releases, tiny_model(seed=seed)) for seed in range(2)]
    client, name = open_client(settings), model_name("tiny_town")
    client.create_registered_model(name)
    for number, release in enumerate(releases, 1):
        publish_release(release, store)
        client.create_model_version(name, source="nowhere")
        link_release(settings, "tiny_town", number, release.name)
    assert project_champion(settings, "tiny_town", releases[0].name) == 1
    home, alias = tmp_path / "server", f"models:/{name}@champion"
    home.mkdir()
    given = {"HEDONIC_RELEASE_URI": alias, "HEDONIC_STORE_URL": store, "HEDONIC_FOLLOW_S": "0.2"}
    with contextlib.ExitStack() as stack:
        server = contextlib.ExitStack()
        stack.enter_context(server)
        url = server.enter_context(tracking_server(settings))
        served = stack.enter_context(endpoint(home, releases[0], **given, MLFLOW_TRACKING_URI=url))
        assert info(served)["source"] == {"uri": alias, "kind": "registry", "baked": None}
        assert info(served)["model"]["release"] == releases[0].name
        assert project_champion(settings, "tiny_town", releases[1].name) == 2
        wait_for(lambda: info(served)["model"]["release"] == releases[1].name)
        assert project_champion(settings, "tiny_town", releases[0].name) == 1  # and back
        wait_for(lambda: info(served)["model"]["release"] == releases[0].name)
        server.close()
        wait_for(lambda: "does not answer" in served.log.read_text())
        assert served.predict(ROW).json["model"]["release"] == releases[0].name
        assert info(served)["refused"] is None
        assert {path.name for path in (home / "fetched").iterdir()} == {release.name for release in releases}


def test_the_documentation_is_that_of_the_contract_that_is_served(tmp_path):
    first = tiny_release(tmp_path / "releases")
    other = tiny_release(tmp_path / "releases", tiny_model(serve={"port": 3999, "max_rows": 7}))
    crown(tmp_path, first)
    with endpoint(tmp_path, first, HEDONIC_FOLLOW_S="0.1") as served:

        def limits():
            document = served.ask("GET", "/docs.json").json
            taken = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
            schema = taken["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            asked = served.ask("GET", "/schema").json
            return [found["properties"]["instances"]["maxItems"] for found in (schema, asked)]

        assert limits() == [5, 5]
        assert served.predict(*[ROW] * 7).status == 400
        crown(tmp_path, other)
        wait_for(lambda: info(served)["model"]["release"] == other.name)
        assert limits() == [7, 7]
        assert served.predict(*[ROW] * 7).status == 200
