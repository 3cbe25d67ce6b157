"""Version 1 of the prediction API keeps its shape."""

import json
from pathlib import Path

from tests.documents import operation_shape, tiny_document

FROZEN = Path(__file__).with_name("v1.json")
PATH = "/api/v1/predict"
CHANGED = (
    "the shape of /api/v1/predict is not the one in tests/serving/v1.json. Version 1 is frozen: a "
    "change that can break a caller (a field removed, renamed or of another type, a new required "
    "field, a tighter bound, another error shape) is a new major version with a path of its own, "
    "/api/v2/predict. Only what adds to it (an optional field of a request, a field of a response) "
    "may be written into the file, by a commit that says so."
)


def shape_of_version_1():
    # With a token and a rate, so that every refusal that there can be is in it.
    return operation_shape(tiny_document(tokens="one", rate_per_s=1), PATH)


def test_version_1_is_frozen():
    assert shape_of_version_1() == json.loads(FROZEN.read_text()), CHANGED


def test_what_is_frozen_is_what_the_design_names():
    frozen = json.loads(FROZEN.read_text())
    response = frozen["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    (prediction,) = [response["predictions"]["items"]["properties"]]
    assert list(response) == ["model", "predictions", "request_id"]
    assert list(prediction) == [
        "confidence", "estimate", "interval_80", "interval_90", "unit", "warnings",
    ]  # fmt: skip
    assert list(response["model"]["properties"]) == ["name", "release", "version"]
    assert list(prediction["confidence"]["properties"]) == ["grade", "reason"]
    for status in ("400", "401", "408", "413", "415", "429", "500", "503"):
        error = frozen["responses"][status]["content"]["application/json"]["schema"]["properties"]
        assert list(error) == ["error", "request_id"]
        assert list(error["error"]["properties"]) == ["code", "message", "problems"]
        assert list(error["error"]["properties"]["problems"]["items"]["properties"]) == ["message", "path"]


def test_a_change_of_wording_is_none_and_a_change_of_a_field_is_one():
    told = tiny_document(tokens="one", rate_per_s=1)
    before = operation_shape(told, PATH)
    told["components"]["schemas"]["Prediction"]["properties"]["estimate"]["description"] = "Said otherwise"
    assert operation_shape(told, PATH) == before
    told["components"]["schemas"]["Prediction"]["properties"]["estimate"]["type"] = "string"
    assert operation_shape(told, PATH) != before
    told = tiny_document(tokens="one", rate_per_s=1)
    del told["components"]["schemas"]["ErrorContent"]["properties"]["code"]
    assert operation_shape(told, PATH) != before


def test_all_three_paths_of_predict_have_the_shape_of_version_1():
    told = tiny_document(tokens="one", rate_per_s=1)
    assert operation_shape(told, "/predict") == operation_shape(told, "/api/predict") == shape_of_version_1()
