"""The valuation service over HTTP."""

import json
import shutil
import subprocess

import pytest

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import read_golden
from hedonic.promotion.release import write_release
from hedonic.serving.golden import differences, verify_served
from hedonic.serving.predictor import load_release
from tests.documents import resolved
from tests.ports import free_port
from tests.serving.conftest import ROOT, crown, serve_command, serving_environment
from tests.tiny_release import ROW, tiny_content, tiny_release

pytestmark = pytest.mark.slow


def error(answer, status, code):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    content = answer.json
    assert set(content) == {"error", "request_id"}
    assert content["request_id"] == answer.headers["x-request-id"]
    assert set(content["error"]) == {"code", "message", "problems"}
    assert content["error"]["code"] == code
    return content["error"]


@pytest.mark.parametrize("path", ["/predict", "/api/predict", "/api/v1/predict"])
def test_a_prediction_equals_the_offline_one(served, path):
    rows = [ROW, {**ROW, "quarter": "old town", "area": 9000}]
    answer = served.predict(*rows, path=path)
    assert answer.status == 200
    offline = load_release(served.release).predictor.predict(rows)
    assert (
        differences(answer.json["predictions"], offline) == []
    )  # to 1e-9: this process has another CPU level
    assert answer.json["model"] == {
        "name": "hedonic-tiny_town", "version": served.release.name[:16], "release": served.release.name,
    }  # fmt: skip
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_every_golden_row_is_answered_as_the_release_says(served):
    assert verify_served(f"http://127.0.0.1:{served.port}", served.release) == 3


def test_another_release_than_the_one_meant_is_noticed(served, tmp_path):
    other = write_release(tmp_path, tiny_content(seed=43))
    with pytest.raises(ReleaseRefused, match=f"answered by release {served.release.name[:16]}"):
        verify_served(f"http://127.0.0.1:{served.port}", other)


def test_an_endpoint_that_is_not_there_is_noticed(served):
    with pytest.raises(ReleaseRefused, match="no answer"):
        verify_served(f"http://127.0.0.1:{free_port()}", served.release)


def test_a_batch_equals_its_single_rows_bit_for_bit(served):
    rows = [{**ROW, "area": 500.0 + 777.7 * n, "bedrooms": n} for n in range(5)]
    batch = served.predict(*rows).json["predictions"]
    assert batch == [served.predict(row).json["predictions"][0] for row in rows]


def test_every_answer_has_a_request_id_of_its_own(served):
    ids = {served.predict(ROW).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_all_problems_come_back_at_once_with_their_paths(served):
    problems = error(
        served.predict(ROW, {**ROW, "bedrooms": "3", "lake": 1, "colour": 0}), 400, "invalid_request"
    )
    assert [problem["path"] for problem in problems["problems"]] == [
        "instances[1].bedrooms", "instances[1].lake", "instances[1].colour",
    ]  # fmt: skip
    assert problems["message"] == "the request has 3 problems"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"instances": []}', b'{"instances": {"a": 1}}', b"[" * 100_000, b"\xff"],
)
def test_what_is_no_request_is_the_callers_fault(served, body):
    answer = served.post(body)
    error(answer, 400, answer.json["error"]["code"])


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(served, literal):
    body = json.dumps({"instances": [{**ROW, "area": 0}]}).replace('"area": 0', f'"area": {literal}').encode()
    (problem,) = error(served.post(body), 400, "invalid_request")["problems"]
    assert problem["path"] == "instances[0].area"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/vnd.bentoml+pickle",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ],
)
def test_a_body_of_another_type_is_415(served, kind):
    body = json.dumps({"instances": [ROW]}).encode()
    error(served.post(body, kind=kind), 415, "unsupported_media_type")


def test_a_type_with_a_character_set_and_no_type_at_all_are_taken_for_json(served):
    body = json.dumps({"instances": [ROW]}).encode()
    assert served.post(body, kind="Application/JSON; charset=utf-8").status == 200
    assert served.post(body, kind=None).status == 200


def test_unknown_paths_and_methods_have_the_one_error_shape(served):
    error(served.ask("GET", "/nope"), 404, "not_found")
    error(served.ask("GET", "/predict"), 405, "method_not_allowed")
    error(served.ask("POST", "/model/info"), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/healthz", "/metrics"])
def test_it_says_that_it_is_well(served, path):
    answer = served.ask("GET", path)
    assert answer.status == 200
    assert answer.headers["x-request-id"]


def test_model_info_tells_what_is_served_and_from_where(served):
    info = served.ask("GET", "/model/info").json
    assert info["model"]["release"] == served.release.name
    assert (info["dataset"], info["bento"], info["refused"]) == ("tiny_town", None, None)
    assert info["source"] == {"uri": "champion:tiny_town", "kind": "champion", "baked": None}
    assert info["made_from"]["snapshot"] == "a" * 64
    assert info["target"] == {"column": "price", "unit": "USD"}


def test_openapi_shows_the_contracts_schema_and_an_example_that_is_answered(served):
    document = served.ask("GET", "/docs.json").json
    document = resolved(document, document)
    for path in ("/predict", "/api/predict", "/api/v1/predict"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        schema = content["schema"]
        assert schema["properties"]["instances"]["maxItems"] == 5
        row = schema["properties"]["instances"]["items"]
        assert row["properties"]["bedrooms"]["maximum"] == 10
        assert row["additionalProperties"] is False
        assert served.post(content["example"], path).status == 200


def test_bentomls_own_client_can_call_it(served):
    import bentoml

    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{served.port}") as client:
        answer = client.predict(instances=[ROW])
    answer = answer if isinstance(answer, dict) else answer.model_dump()
    assert answer["predictions"] == served.predict(ROW).json["predictions"]


def run_serve(home):
    command = serve_command(free_port())
    return subprocess.run(
        command,
        cwd=ROOT,
        env=serving_environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_champion_it_ends_before_the_port_opens_and_says_what_to_do(tmp_path):
    done = run_serve(tmp_path)
    assert done.returncode == 2
    assert "Run `make run` first" in done.stderr
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout + done.stderr


def test_a_damaged_champion_is_not_served(tmp_path):
    folder = tiny_release(tmp_path / "releases")
    crown(tmp_path, folder)
    trees = folder / "model" / "point" / "trees.txt"
    trees.write_text(trees.read_text().replace("0.", "1.", 1))
    done = run_serve(tmp_path)
    assert done.returncode == 1
    assert "model/point/trees.txt: changed" in done.stderr
    assert "listening" not in done.stdout + done.stderr


def test_a_pointer_to_another_digest_than_the_folders_is_not_served(tmp_path):
    folder = tiny_release(tmp_path / "releases")
    moved = shutil.move(folder, folder.with_name("f" * 64))
    crown(tmp_path, moved)
    done = run_serve(tmp_path)
    assert done.returncode == 1
    assert "this is another release" in done.stderr


def test_golden_rows_are_sent_as_people_write_them(served):
    instances = read_golden(served.release).instances
    assert instances[0]["quarter"] == "Hill"
    assert served.predict(instances[0]).status == 200
