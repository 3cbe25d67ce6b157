"""One table, four ways in: /predict, /invocations (JSON, CSV), the long job and `hedonic score` agree."""

import contextlib
import csv
import io
import json
import random
import subprocess
import sys

import pytest
import yaml

from tests.endpoints import start_endpoint
from tests.project import SHARED
from tests.serving.conftest import ROOT, serving_environment
from tests.tiny_release import CONTRACT, ROW, tiny_model, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SERVE = {"port": 3999, "max_rows": 100}
N_ROWS = 1234
COMMAND = [sys.executable, "-c", "from hedonic.cli import main; main()", "score", "tiny_town"]


def some_rows():
    """Return rows of every kind: missing values, other cases, odd dates, outside what training saw."""
    draw = random.Random(7)
    return [
        {
            "bedrooms": draw.randint(0, 8),
            "area": round(draw.uniform(450, 9000), draw.choice((0, 1, 12))),
            "built": draw.randint(1850, 2010),
            "lake": draw.random() < 0.2,
            "quarter": draw.choice(("Hill", "Old Town", "hill", "OLD TOWN")),
            "garden": draw.choice((None, 0, 1e-5, 250, 4000.5)),
            "listed": draw.choice((None, "2014-02-28", "1999-12-31")),
            "valuation_date": draw.choice((None, "2015-01-31", "2016-07-01")),
        }
        for _ in range(N_ROWS)
    ]


ROWS = some_rows()


def table(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, [*ROW, "valuation_date"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Return an endpoint, and a project whose champion it serves."""
    root = tmp_path_factory.mktemp("town")
    for shared in SHARED:
        (root / shared).symlink_to(ROOT / shared)
    (root / "expectations").mkdir()
    (root / "expectations" / "tiny_town.yaml").write_text(yaml.safe_dump({**CONTRACT, "serve": SERVE}))
    home = root / ".hedonic"
    release = tiny_release(home / "releases", tiny_model(serve=SERVE))
    with contextlib.ExitStack() as stack:
        served, _ = start_endpoint(stack, home, release)
        yield served, root, serving_environment(home) | {"HEDONIC_ROOT": str(root)}


@pytest.fixture(scope="module")
def expected(town):
    """Return what /predict answers, a hundred rows at a time."""
    served, _, _ = town
    found = []
    for start in range(0, N_ROWS, 100):
        answer = served.predict(*ROWS[start : start + 100])
        assert answer.status == 200, answer.body
        found += answer.json["predictions"]
    assert any(prediction["warnings"] for prediction in found)
    assert served.predict(ROWS[0]).json["predictions"] == found[:1]
    return found


def result(prediction):
    """Return what a table with estimates says of a row."""
    return {
        "estimate": prediction["estimate"],
        "low_80": prediction["interval_80"][0],
        "high_80": prediction["interval_80"][1],
        "low_90": prediction["interval_90"][0],
        "high_90": prediction["interval_90"][1],
        "confidence_grade": prediction["confidence"]["grade"],
        "warnings": "; ".join(prediction["warnings"]),
    }


def results_in(lines):
    """Return the same of the lines of a CSV table; the text of a number is the number, bit for bit."""
    names = list(
        result(
            {
                "estimate": 0,
                "interval_80": (0, 0),
                "interval_90": (0, 0),
                "confidence": {"grade": ""},
                "warnings": (),
            }
        )
    )
    return [
        {name: line[name] if name in names[5:] else float(line[name]) for name in names}
        for line in csv.DictReader(lines)
    ]


def run(town, *arguments):
    _, root, environment = town
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_invocations_answer_json_and_csv_as_predict_does(town, expected):
    served, _, _ = town
    assert served.post({"instances": ROWS}, "/invocations").json["predictions"] == expected
    body = table(ROWS).encode()
    assert served.post(body, "/invocations", "text/csv").json["predictions"] == expected
    answer = served.ask("POST", "/invocations", body, {"Content-Type": "text/csv", "Accept": "text/csv"})
    assert results_in(io.StringIO(answer.body.decode())) == [result(prediction) for prediction in expected]


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_a_long_job_answers_as_predict_does(town, expected, kind):
    served, _, _ = town
    body = table(ROWS).encode() if kind == "text/csv" else json.dumps({"instances": ROWS}).encode()
    task_id = served.post(body, "/score/submit", kind).json["task_id"]
    wait_for(lambda: served.ask("GET", f"/score/status?task_id={task_id}").json["status"] == "completed")
    assert served.ask("GET", f"/score/get?task_id={task_id}").json["predictions"] == expected


def test_hedonic_score_answers_as_predict_does(town, expected, tmp_path):
    (tmp_path / "in.csv").write_text(table(ROWS))
    done = run(town, str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--json")
    assert done.returncode == 0, done.stderr
    assert results_in((tmp_path / "out.csv").open(newline="")) == [
        result(prediction) for prediction in expected
    ]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["n_rows"], told["n_refused"], told["release"]) == (N_ROWS, 0, town[0].release.name)


def test_hedonic_score_refuses_a_table_or_keeps_its_bad_rows(town, expected, tmp_path):
    rows = [*ROWS[:50], {**ROWS[0], "area": "x"}, *ROWS[50:]]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(town, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    assert done.returncode == 2
    assert "1 problem in 1235 rows" in done.stderr
    assert 'row 50, area: must be a number; got "x"' in done.stderr
    assert not (tmp_path / "out.jsonl").exists()

    done = run(town, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--keep-refused", "--json")
    assert done.returncode == 0, done.stderr
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    bad = written.pop(50)
    assert "estimate" not in bad
    assert bad["problems"] == 'area: must be a number; got "x"'
    assert [{name: row[name] for name in result(expected[0])} for row in written] == [
        result(p) for p in expected
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gone.csv", "out.csv"), "gone.csv: cannot be read"),
        (("in.xlsx", "out.csv"), "name the table by its format"),
    ],
)
def test_hedonic_score_says_what_is_wrong_with_its_arguments(town, arguments, told):
    done = run(town, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
