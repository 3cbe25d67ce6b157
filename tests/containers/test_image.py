"""The image of a release: what is in it, what is not, and how it is built."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from hedonic.errors import ReleaseRefused
from hedonic.images.book import ImageBook
from hedonic.images.building import build_release_image
from hedonic.images.engine import Engine
from hedonic.promotion.bento import build_bento, held_digest, served_sources
from hedonic.settings import Settings
from tests.containers.conftest import CANARY, Town, docker
from tests.drills import DrillTable
from tests.project import ROOT
from tests.tiny_release import tiny_model, tiny_release

pytestmark = [pytest.mark.container, pytest.mark.slow]


def within(town: Town, *words: str) -> str:
    """Return what a command prints in the image, run as its own user without a network."""
    return docker("run", "--rm", "--network", "none", "--entrypoint", words[0], town.image.name, *words[1:])


def test_it_weighs_under_500_mb(town: Town, drill_table: DrillTable) -> None:
    drill_table.add("image of the endpoint", 1, f"{town.image.size / 1e6:.0f} MB")
    assert town.image.size < 500e6


def test_the_tag_is_the_digest_of_the_bento_that_is_in_it(town: Town, engine: Engine, tmp_path: Path) -> None:
    engine.copy_out(town.image.name, "/srv/bento", tmp_path)
    digest = held_digest(tmp_path / "bento")
    assert digest == town.bento.digest
    assert town.image.name == f"hedonic-tiny_town:{digest[:16]}"
    assert [path.name for path in (tmp_path / "bento" / "src" / "baked_release").iterdir()] == [
        town.release.name
    ]


def test_an_image_that_holds_something_else_than_its_tag_says_is_refused(
    town: Town, engine: Engine, tmp_path: Path
) -> None:
    settings = Settings(root=ROOT, home=tmp_path / "home")
    release = tiny_release(settings.releases, tiny_model(seed=9))
    bento = build_bento(ROOT, release, settings.bentos, promoted=True)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {town.image.name}\n"
    )  # another release, under this one's names
    label = f"hedonic.bento={bento.digest}"
    docker("build", "--quiet", "--label", label, "--tag", bento.tag, str(tmp_path))
    try:
        with pytest.raises(ReleaseRefused, match=f"holds {town.bento.digest[:16]}, not what its tag says"):
            build_release_image(settings, engine, bento.tag, release)
    finally:
        docker("rmi", bento.tag)
    assert ImageBook(settings).all() == ()


def test_the_labels_tell_where_the_release_comes_from(town: Town) -> None:
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", town.image.name))
    manifest = json.loads((town.release / "manifest.json").read_text())
    assert labels["hedonic.release"] == town.release.name
    assert labels["hedonic.bento"] == town.bento.digest
    assert labels["hedonic.snapshot"] == manifest["snapshot"]
    assert labels["hedonic.contract"] == manifest["files"]["contract.json"]
    assert labels["hedonic.lock"] == manifest["lock"]
    assert labels["hedonic.training-code"] == manifest["code"]
    assert labels["org.opencontainers.image.version"] == town.bento.digest[:16]
    assert labels["org.opencontainers.image.base.name"] == "python:3.11-slim"


def test_it_has_no_compiler_no_trainer_and_no_tool_to_install_with(town: Town) -> None:
    assert within(town, "sh", "-c", "command -v cc gcc g++ make git uv || echo none") == "none"
    learn = ("pandas", "sklearn", "mlflow", "optuna", "great_expectations", "prefect", "mapie", "pip")
    code = f"import importlib.util as u; print([n for n in {learn} if u.find_spec(n)])"
    assert within(town, "python", "-c", code) == "[]"


def test_its_user_is_nobody_and_owns_nothing_of_what_is_served(town: Town) -> None:
    assert docker("inspect", "--format", "{{.Config.User}}", town.image.name) == "10001:10001"
    owned = "find /srv /opt \\( -user 10001 -o -perm -o+w \\) ! -type l | head -5"
    assert within(town, "sh", "-c", owned) == ""


def test_the_bill_of_materials_lists_what_is_really_in_it(town: Town) -> None:
    bill = json.loads(ImageBook(town.settings).bill(town.image.name).read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["bom-ref"]) == ("CycloneDX", town.image.id)
    told = {unquote(one["purl"].split("?")[0]) for one in bill["components"]}
    # Found another way than the bill was: by the names of folders, and by Debian's own tool.
    folders = within(town, "find", "/opt/hedonic", "-name", "*.dist-info", "-printf", "%f\\n").split()
    python = {name.removesuffix(".dist-info").rpartition("-") for name in folders}
    assert {
        "pkg:pypi/" + name.lower().replace("_", "-") + "@" + version for name, _, version in python
    } <= told
    debian = within(town, "dpkg-query", "--show", "--showformat", "${Package}@${Version}\\n").split()
    assert {one for one in told if one.startswith("pkg:deb/")} == {f"pkg:deb/debian/{one}" for one in debian}
    locked = re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / "requirements-serve.txt").read_text(), re.M)
    assert {name for name, _, _ in python} >= {"bentoml", "lightgbm", "numpy"}
    assert {version for name, version in locked if name == "bentoml"} == {
        version for name, _, version in python if name == "bentoml"
    }
    assert any(one.startswith("pkg:deb/debian/libgomp1@") for one in told)


def layers(image: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every part of a saved image: its configuration, and each layer as a whole."""
    docker("save", "--output", str(folder / "image.tar"), image)
    with tarfile.open(folder / "image.tar") as saved:
        for member in saved:
            if (file := saved.extractfile(member)) is not None:
                content = file.read()
                yield member.name, gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_no_layer_and_no_log_of_the_build_has_a_secret_of_the_builder(town: Town, tmp_path: Path) -> None:
    found, seen = [], set()
    for name, content in layers(town.image.name, tmp_path):
        if CANARY.encode() in content:
            found.append(name)
        # That a file in a layer, a label and a variable of the image would be seen at all.
        seen |= {
            mark
            for mark in (b"Estimates of prices with", b"hedonic.release", b"PORT=8080")
            if mark in content
        }
    assert len(seen) == 3
    assert found == []
    logs = list(town.settings.logs.glob("image-*.log"))
    assert CANARY not in "".join(log.read_text() for log in logs)
    assert CANARY not in docker("history", "--no-trunc", town.image.name)


def test_other_code_and_another_release_install_nothing_again(
    town: Town, engine: Engine, tmp_path: Path
) -> None:
    for path in (*served_sources(ROOT), "deployments/images/valuation.Dockerfile", "requirements-serve.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    with (tmp_path / "src" / "hedonic" / "errors.py").open("a") as file:
        file.write("# another line\n")
    settings = Settings(root=tmp_path, home=tmp_path / "home")
    release = tiny_release(settings.releases)
    bento = build_bento(tmp_path, release, settings.bentos, promoted=True)
    assert bento.digest != town.bento.digest
    docker("image", "rm", "--force", bento.tag)  # an engine that lives on has it from an earlier run
    build_release_image(settings, engine, bento.tag, release)
    ids = [
        json.loads(docker("inspect", "--format", "{{json .RootFS.Layers}}", tag))
        for tag in (town.image.name, bento.tag)
    ]
    assert ids[0][:2] == ids[1][:2]  # the base, and the packages
    log = (settings.logs / "image-hedonic-tiny_town.log").read_text()
    # BuildKit names what it took from an earlier build.
    installing = re.search(r"^#(\d+) \[packages 3/4\] RUN", log, re.M)
    assert installing
    assert f"#{installing[1]} CACHED" in log
    assert "Successfully installed" not in log
