"""The known prediction: an image that answers as its release says, and images that do not."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from delivery.champion import find_champion
from delivery.image import check
from hedonic.errors import HedonicError, UserError
from hedonic.model.manifest import read_golden
from hedonic.settings import Settings
from tests.ports import free_port
from tests.project import ROOT
from tests.tiny_release import tiny_release

# An engine whose one container is a process on loopback; what the engine is told is written down.
ENGINE = """#!{python}
import json, os, pathlib, signal, subprocess, sys
here = pathlib.Path({here!r})
with (here / "calls").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
verb = sys.argv[1]
if verb == "run":
    command = [sys.executable, str(here / "served.py")]
    quiet = subprocess.DEVNULL
    served = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    print(served.pid)
elif verb == "port":
    print("127.0.0.1:{port}")
elif verb == "logs":
    print("nothing was said")
elif verb == "rm":
    os.kill(int(sys.argv[-1]), signal.SIGTERM)
"""
SERVED = """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
golden, release, factor = json.load(open({golden!r})), {release!r}, {factor}
class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({status})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"][0]
        answer = dict(golden["answers"][golden["instances"].index(asked)])
        answer["estimate"] *= factor
        self.answer(200, json.dumps({{"predictions": [answer], "model": {{"release": release}}}}).encode())
HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


@pytest.fixture
def run(tmp_path):
    """Return what checks an image that multiplies its estimates, and what the engine was told."""
    release, port = tiny_release(tmp_path), free_port()
    docker = tmp_path / "docker"
    docker.write_text(ENGINE.format(python=sys.executable, here=str(tmp_path), port=port))
    docker.chmod(0o755)

    def run(factor=1.0, status=200, limit_s=30.0):
        served = SERVED.format(
            golden=str(release / "golden.json"), release=release.name, factor=factor, status=status, port=port
        )
        (tmp_path / "served.py").write_text(textwrap.dedent(served))
        return check(str(docker), "hedonic-tiny_town:0", release, limit_s)

    return run, lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()], release


def test_an_image_that_answers_as_its_release_says_is_run_hardened_and_removed(run):
    checked, calls, release = run
    _, n_rows = checked()
    assert n_rows == len(read_golden(release).instances)
    begun, removed = calls()[0], calls()[-1]
    assert {"--read-only", "--cap-drop", "no-new-privileges", "512m"} <= set(begun)
    assert "127.0.0.1::8080" in begun
    assert removed[:2] == ["rm", "--force"]


def test_an_estimate_that_is_off_by_a_millionth_is_red(run):
    checked, calls, _ = run
    with pytest.raises(HedonicError, match="estimate: got"):
        checked(factor=1 + 1e-6)
    assert calls()[-1][0] == "rm"


def test_an_image_that_is_never_ready_is_red_and_removed(run):
    checked, calls, _ = run
    with pytest.raises(HedonicError, match="not ready within 0.5 s. Its log: nothing was said"):
        checked(status=503, limit_s=0.5)
    assert calls()[-1][0] == "rm"


def test_where_there_is_no_champion_there_is_nothing_to_deliver(tmp_path):
    settings = Settings(root=ROOT, home=tmp_path)
    with pytest.raises(UserError, match="no champion yet, so there is nothing to deliver"):
        find_champion(settings, "tiny_town")
    assert not (tmp_path / "history.db").exists()
