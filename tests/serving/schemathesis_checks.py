"""What `st run` checks beside its own: loaded by it, by SCHEMATHESIS_HOOKS."""

import json

import schemathesis


def _refuse(literal):
    raise AssertionError(f"{literal} is no JSON")


@schemathesis.check
def what_the_schema_takes_is_refused_for_a_rule_alone(ctx, response, case):
    """Rules across fields, and whether a day is in the future, are not in a JSON schema; all else is."""
    of_json = case.media_type == "application/json" and case.meta.generation.mode.is_positive
    if of_json and case.method == "POST" and response.status_code == 400:
        for problem in json.loads(response.text)["error"]["problems"]:
            assert "(rule " in problem["message"] or problem["path"] == "observed_at", problem


@schemathesis.check
def no_number_is_no_number(ctx, response, case):
    if response.headers.get("content-type", [""])[0].startswith("application/json"):
        json.loads(response.text, parse_constant=_refuse)


@schemathesis.check
def every_error_has_the_one_shape(ctx, response, case):
    if response.status_code < 400 or case.method == "HEAD":
        return
    content = json.loads(response.text)
    assert set(content) == {"error", "request_id"}
    assert set(content["error"]) == {"code", "message", "problems"}
    if not case.path.startswith("/score/"):  # the refusal of a job has the id of who submitted it
        assert content["request_id"] == response.headers["x-request-id"][0]
