"""Those who ask: BentoML's Python client, and curl as the README writes it."""

import contextlib
import json
import re
import subprocess

import bentoml
import pytest
from bentoml.exceptions import BentoMLException

from tests.endpoints import start_endpoint
from tests.serving.conftest import ROOT
from tests.small_release import small_release
from tests.tiny_release import ROW
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(served):
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{served.port}") as opened:
        yield opened


def content(answer):
    return answer if isinstance(answer, dict) else answer.model_dump()


@pytest.mark.parametrize("name", ["predict", "predict_api", "predict_v1", "invocations", "score"])
def test_bentomls_client_gets_the_estimates_that_http_gives(served, client, name):
    answer = content(getattr(client, name)(instances=[ROW, {**ROW, "lake": True}]))
    assert answer["predictions"] == served.predict(ROW, {**ROW, "lake": True}).json["predictions"]
    assert answer["model"]["release"] == served.release.name


def test_bentomls_client_gets_explanations_that_add_up(client):
    (told,) = content(client.explain(instances=[ROW]))["explanations"]
    amounts = [part["amount"] for part in told["contributions"]]
    assert told["base"] + sum(amounts) == pytest.approx(told["estimate"])


def test_bentomls_client_reports_a_price(served, client):
    request_id = content(client.predict(instances=[ROW]))["request_id"]
    answer = content(client.feedback(request_id=request_id, price=271_000, observed_at="2015-03-01"))
    assert (answer["outcome"], answer["price"], answer["row"]) == ("recorded", 271_000.0, 0)
    again = content(client.feedback(request_id=request_id, price=271_000, observed_at="2015-03-01"))
    assert again["outcome"] == "repeated"


def test_bentomls_client_submits_a_long_job_and_takes_its_result(served, client):
    client._opened_files = []  # BentoML 1.4.39 forgot to, and `submit` raises AttributeError without it
    task = client.score.submit(instances=[ROW] * 20)
    wait_for(lambda: task.get_status().value in ("completed", "failed"))
    assert content(task.get())["predictions"] == served.predict(ROW).json["predictions"] * 20


def test_bentomls_client_is_told_every_problem(client):
    with pytest.raises(BentoMLException, match=r"instances\[0\]\.bedrooms") as refused:
        client.predict(instances=[{**ROW, "bedrooms": "3", "lake": 1}])
    problems = json.loads(str(refused.value))["error"]["problems"]
    assert [problem["path"] for problem in problems] == ["instances[0].bedrooms", "instances[0].lake"]


def test_bentomls_client_leaves_no_field_out_that_has_to_be_refused(client):
    with pytest.raises(BentoMLException, match=r"instances\[0\]\.colour"):
        client.predict(instances=[{**ROW, "colour": "red"}])


def curl_lines(text):
    """Return the lines of code blocks that ask an endpoint by curl, or set what such a line needs."""
    blocks = re.findall(r"```(?:bash|sh|text|console)\n(.*?)```", text, flags=re.DOTALL)
    return [
        line.removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if re.match(r"(?:\$ )?(?:\w+=\$\()?curl ", line)
    ]


@pytest.fixture(scope="module")
def king_county(tmp_path_factory):
    home = tmp_path_factory.mktemp("king_county_home")
    with contextlib.ExitStack() as stack:
        endpoint, _ = start_endpoint(stack, home, small_release("king_county", home))
        yield endpoint


def test_every_curl_line_of_the_readme_is_answered(king_county, tmp_path):
    lines = curl_lines((ROOT / "README.md").read_text())
    assert lines, "the README shows no request"
    here = [re.sub(r"(127\.0\.0\.1|localhost):3000", f"127.0.0.1:{king_county.port}", line) for line in lines]
    assert all(f":{king_county.port}" in line for line in here)
    script = "\n".join(line.replace("curl ", "curl --fail-with-body --max-time 20 ") for line in here)
    done = subprocess.run(
        ["bash", "-c", f"set -euxo pipefail\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"estimate":' in done.stdout


def test_a_curl_line_that_is_refused_is_noticed(king_county):
    (wrong,) = curl_lines(f"```text\ncurl -s http://127.0.0.1:{king_county.port}/predict -d '{{}}'\n```")
    done = subprocess.run(
        ["bash", "-c", wrong.replace("curl ", "curl --fail-with-body ")], capture_output=True, check=False
    )
    assert done.returncode == 22
