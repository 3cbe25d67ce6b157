"""Shipping: three names, one digest, and nothing of a rehearsal."""

from __future__ import annotations

import json
import sys

import pytest

from delivery.shipping import NotShipped, is_rehearsal, names_of, ship
from tests.pipeline.trees import make, make_tree

IMAGE, REPOSITORY, COMMIT = "hedonic-town:0123456789abcdef", "ghcr.io/someone/hedonic-town", "c" * 40
DIGEST = f"sha256:{'d' * 64}"
NAMES = [f"{REPOSITORY}:{tag}" for tag in ("0123456789abcdef", COMMIT, "v7")]
ENGINE = """#!{python}
import json, pathlib, sys
with pathlib.Path({calls!r}).open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "push":
    print("latest: digest: {digest} size: 1")
if sys.argv[1] == "buildx":
    held = pathlib.Path({calls!r}).with_name("held")
    if not held.exists():
        sys.exit(f"ERROR: {{sys.argv[4]}}: not found")
    print(held.read_text())
"""


@pytest.fixture
def engine(tmp_path):
    """Return the folder of a container engine that writes down what it is told, and that list."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    calls.touch()
    docker = folder / "docker"
    docker.write_text(ENGINE.format(python=sys.executable, calls=str(calls), digest=DIGEST))
    docker.chmod(0o755)
    return docker, lambda: [json.loads(line) for line in calls.read_text().splitlines()]


def test_an_image_is_shipped_by_digest_commit_and_version(engine):
    docker, calls = engine
    assert ship(str(docker), IMAGE, names_of(IMAGE, REPOSITORY, COMMIT, "7")) == DIGEST
    assert [call for call in calls() if call[0] == "push"] == [["push", name] for name in NAMES]
    assert [call[1] for call in calls() if call[0] == "tag"] == [IMAGE] * 3


def test_a_registry_that_has_two_images_under_its_names_is_no_success(engine):
    docker, _ = engine
    text = docker.read_text().replace(f"digest: {DIGEST}", 'digest: sha256:" + sys.argv[2][-1] * 64 + "')
    docker.write_text(text.replace("sys.argv[2][-1]", "('a' if sys.argv[2].endswith('v7') else 'b')"))
    with pytest.raises(NotShipped, match="different images"):
        ship(str(docker), IMAGE, names_of(IMAGE, REPOSITORY, COMMIT, "7"))


def test_a_version_that_is_another_image_already_is_not_moved(engine, tmp_path):
    docker, calls = engine
    (tmp_path / "held").write_text(f"sha256:{'e' * 64}\n")
    with pytest.raises(NotShipped, match=r":v7: is sha256:e{64} already, and a version is never moved"):
        ship(str(docker), IMAGE, names_of(IMAGE, REPOSITORY, COMMIT, "7"))
    assert not [call for call in calls() if call[0] in ("push", "tag") and call[-1] == NAMES[-1]]


def test_a_version_that_is_this_very_image_is_shipped_again(engine, tmp_path):
    docker, _ = engine
    (tmp_path / "held").write_text(f"{DIGEST}\n")
    assert ship(str(docker), IMAGE, names_of(IMAGE, REPOSITORY, COMMIT, "7")) == DIGEST


@pytest.mark.parametrize("said", ["ERROR: denied", "ERROR: dial tcp: lookup ghcr.io: host not found", ""])
def test_where_nobody_can_tell_whether_a_version_is_taken_it_is_not_shipped(engine, said):
    docker, calls = engine
    text = docker.read_text().replace('f"ERROR: {sys.argv[4]}: not found"', repr(said or 0))
    docker.write_text(text)
    with pytest.raises(NotShipped, match="Nobody can tell"):
        ship(str(docker), IMAGE, names_of(IMAGE, REPOSITORY, COMMIT, "7"))
    assert ["push", NAMES[-1]] not in calls()


def test_a_push_that_fails_says_what_the_engine_said(engine):
    docker, _ = engine
    docker.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('denied: no such right')\n")
    with pytest.raises(NotShipped, match="denied: no such right"):
        ship(str(docker), IMAGE, NAMES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": "hedonic-town:latest"}, "not the 16 digits"),
        ({"commit": f"{COMMIT}-dirty"}, "a dirty tree"),
        ({"version": ""}, "not a model version"),
        ({"repository": "ghcr.io/Someone/hedonic-town"}, "small letters"),
        ({"repository": f"{REPOSITORY}:latest"}, "without a tag"),
    ],
)
def test_a_name_that_says_nothing_is_not_shipped(change, told):
    given = {"image": IMAGE, "repository": REPOSITORY, "commit": COMMIT, "version": "7"} | change
    with pytest.raises(NotShipped, match=told):
        names_of(**given)


@pytest.mark.parametrize(
    ("event", "debug", "rehearsal"),
    [
        ("schedule", "", False),
        ("workflow_dispatch", "false", False),
        ("workflow_dispatch", "true", True),
        ("workflow_dispatch", "", True),
        ("workflow_dispatch", "False", True),
        ("pull_request", "false", True),
        ("push", "false", True),
        ("", "", True),
    ],
)
def test_only_a_schedule_or_a_plain_no_to_debug_ships(event, debug, rehearsal):
    assert is_rehearsal(event, debug) is rehearsal


@pytest.mark.slow
def test_the_target_pushes_nothing_in_a_manual_debug_run(tmp_path, engine):
    docker, calls = engine
    tree = make_tree(tmp_path / "tree", {})
    given = {
        "IMAGE": IMAGE,
        "REPOSITORY": REPOSITORY,
        "COMMIT": COMMIT,
        "VERSION": "7",
        "PATH": f"{docker.parent}:/usr/bin:/bin",
    }
    rehearsed = make(tree, "ship", EVENT="workflow_dispatch", DEBUG="true", **given)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert rehearsed.stderr.splitlines() == [f"would push {name}" for name in NAMES]
    assert rehearsed.stdout == "rehearsal=true\n"
    assert calls() == []
    shipped = make(tree, "ship", EVENT="schedule", DEBUG="", **given)
    assert shipped.stdout == f"rehearsal=false\nreference={REPOSITORY}@{DIGEST}\n"
    assert len(calls()) == 7
    assert make(tree, "ship", EVENT="schedule", DEBUG="", REGISTRY="ghcr", **given).stdout.endswith(
        f"\nghcr={REPOSITORY}@{DIGEST}\n"
    )
