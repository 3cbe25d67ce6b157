"""The OpenAPI document says all that the endpoint does, and the endpoint does all that it says."""

import re
import shutil
import subprocess

import pytest
from jsonschema import Draft202012Validator

from bentos.operations import CSV_TYPE, OPERATIONS
from tests.documents import operation_shape, resolved, tiny_document

pytestmark = pytest.mark.slow

OF_BENTOML = {"/livez", "/readyz", "/healthz", "/metrics", "/schema.json"}
TASKS = {f"/score/{name}" for name in ("submit", "status", "get", "retry", "cancel")}


@pytest.fixture(scope="module")
def told(served):
    answer = served.ask("GET", "/docs.json")
    assert answer.status == 200
    return resolved(answer.json, answer.json)


def operations(told):
    return [
        (path, method, operation)
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    ]


def closed(part):
    """Return a schema that takes no field which it does not name, where it names any."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("additionalProperties") is not True:
        found.setdefault("additionalProperties", False)
    return found


def test_every_path_that_is_served_is_described_and_no_other(served, told):
    mounted_and_declared = set(served.ask("GET", "/schema.json").json["paths"])
    assert set(told["paths"]) == mounted_and_declared | TASKS | OF_BENTOML
    assert len(told["paths"]) == len({operation.path for operation in OPERATIONS})


def test_what_is_described_answers_and_what_answers_is_as_described(served, told):
    for path, method, operation in operations(told):
        if method != "get" or "parameters" in operation:
            continue
        answer = served.ask("GET", path)
        assert answer.status == 200, path
        (kind,) = operation["responses"]["200"]["content"]
        assert answer.headers["content-type"].partition(";")[0] == kind, path
        if kind == "application/json":
            schema = operation["responses"]["200"]["content"][kind]["schema"]
            Draft202012Validator(closed(schema)).validate(answer.json)


def test_every_example_of_a_request_is_answered_as_its_response_is_described(served, told):
    asked = 0
    for path, method, operation in operations(told):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            example = content["example"]
            Draft202012Validator(content["schema"]).validate(example)
            body = example.encode() if kind == CSV_TYPE else example
            answer = served.post(body, path, kind=kind)
            assert answer.status in (200, 202), (path, kind, answer.body)
            schema = operation["responses"][str(answer.status)]["content"]["application/json"]["schema"]
            Draft202012Validator(closed(schema)).validate(answer.json)
            assert method == "post"
            asked += 1
    assert asked == 11


def test_every_example_of_a_response_is_what_its_schema_says(told):
    seen = 0
    for path, _, operation in operations(told):
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                if "example" in content:
                    errors = list(Draft202012Validator(content["schema"]).iter_errors(content["example"]))
                    assert errors == [], (path, status)
                    seen += 1
    assert seen > 50


@pytest.mark.parametrize("path", ["/predict", "/api/predict", "/api/v1/predict", "/explain", "/invocations"])
def test_the_example_of_an_answer_is_the_answer_to_the_example(served, told, path):
    operation = told["paths"][path]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    shown = operation["responses"]["200"]["content"]["application/json"]["example"]
    answer = served.post(example, path).json
    assert {**answer, "request_id": shown["request_id"]} == shown


def test_every_refusal_has_the_one_error_shape_and_says_when_to_come_back(told):
    for _, _, operation in operations(told):
        for status, answer in operation["responses"].items():
            if int(status) < 400:
                continue
            content = answer["content"]["application/json"]
            assert list(content["schema"]["properties"]) == ["error", "request_id"]
            assert set(content["example"]["error"]) == {"code", "message", "problems"}
            assert "X-Request-Id" in answer["headers"]
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))


def test_the_document_names_a_token_and_a_rate_only_where_there_are_some():
    plain = tiny_document()
    assert "security" not in plain
    assert not {"401", "429"} & set(plain["paths"]["/predict"]["post"]["responses"])
    closed_door = tiny_document(tokens="secret-token", rate_per_s=5)
    assert closed_door["security"] == [{"bearer": []}]
    assert closed_door["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "secret-token" not in str(closed_door)
    assert {"401", "429"} <= set(closed_door["paths"]["/predict"]["post"]["responses"])
    for path in ("/livez", "/readyz", "/healthz", "/health", "/ping"):
        probe = closed_door["paths"][path]["get"]
        assert probe["security"] == []
        assert not {"401", "429"} & set(probe["responses"])
    assert "401" in closed_door["paths"]["/metrics"]["get"]["responses"]


def test_an_operation_has_a_name_of_its_own(told):
    names = [operation["operationId"] for _, _, operation in operations(told)]
    assert len(names) == len(set(names))
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations(told))


def test_what_the_endpoint_says_about_version_1_is_what_is_frozen(served):
    said = operation_shape(served.ask("GET", "/docs.json").json, "/api/v1/predict")
    made = operation_shape(tiny_document(), "/api/v1/predict")
    assert said == made


def test_the_page_loads_nothing_from_another_host(served):
    page = served.ask("GET", "/")
    text = page.body.decode()
    loaded = re.findall(r'(?:src|href|url)\s*[=:]\s*"([^"]+)"', text)
    assert len(loaded) == 4
    for address in loaded:
        assert address.startswith("./"), address
        assert served.ask("GET", address[1:]).status == 200
    assert "//" not in text.replace("<!doctype", "")
    assert "default-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.browser
def test_the_page_shows_every_path_without_any_other_host(served, told, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium in PATH")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=15000",
            "--dump-dom", f"http://127.0.0.1:{served.port}/",
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert set(re.findall(r'data-path="([^"]+)"', done.stdout)) == set(told["paths"])
