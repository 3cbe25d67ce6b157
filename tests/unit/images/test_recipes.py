"""The recipes of images: what they share with the rest of the project, and how a new one finds its place."""

import re
import shutil

import pytest

from hedonic.deployments.work_pool import JOB_TEMPLATE
from hedonic.errors import UserError
from hedonic.images.building import _SOURCES, RECIPES, build_named_image, named_images
from hedonic.images.pushing import push_image
from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import Settings
from tests.project import ROOT


def recipe(name):
    return (ROOT / RECIPES / f"{name}.Dockerfile").read_text()


@pytest.mark.parametrize("name", ["valuation", "worker"])
def test_the_numeric_environment_of_an_image_is_that_of_every_run(name):
    text = recipe(name).replace('"', "")
    for variable, value in NUMERIC_ENVIRONMENT.items():
        assert re.search(rf"^ +{variable}={re.escape(value)}( \\)?$", text, re.M), variable


@pytest.mark.parametrize(("name", "tools"), [("valuation", ("BENTOML", "DO_NOT", "OTEL")), ("worker", ("",))])
def test_an_image_reports_to_nobody(name, tools):
    for variable, value in QUIET_ENVIRONMENT.items():
        if variable.startswith(tools):
            assert f"    {variable}={value}" in recipe(name), variable


@pytest.mark.parametrize("name", ["valuation", "worker"])
def test_packages_are_installed_by_their_hashes_by_nobody_and_before_the_code(name):
    text = recipe(name)
    assert "--require-hashes --no-deps --only-binary :all:" in text
    assert text.index("--require-hashes") < text.rindex("COPY")
    assert "\nUSER 10001:10001\n" in text


def test_the_tag_of_the_worker_counts_all_that_comes_into_its_image_and_nothing_else():
    lines = (ROOT / RECIPES / "worker.Dockerfile.dockerignore").read_text().splitlines()
    comes_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert set(_SOURCES) == comes_in
    assert JOB_TEMPLATE in comes_in
    assert all((ROOT / source).exists() for source in comes_in)


def test_a_new_image_needs_its_file_alone(tmp_path):
    assert named_images(ROOT) == ("worker",)
    shutil.copytree(ROOT / RECIPES, tmp_path / RECIPES)
    (tmp_path / RECIPES / "page.Dockerfile").write_text("FROM scratch\n")
    assert named_images(tmp_path) == ("page", "worker")


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(UserError, match=r"nothing: neither a data set nor an image\. .*: worker"):
        build_named_image(Settings(root=ROOT, home=ROOT / "nowhere"), None, "nothing")


@pytest.mark.parametrize("where", ["town", "ghcr.io", "ghcr.io/me/town:1", "me/town", "ghcr.io/a@sha256:1"])
def test_a_push_without_a_registry_or_with_a_tag_is_refused_before_anything_is_done(where):
    with pytest.raises(UserError, match="give REGISTRY/NAME without a tag"):
        push_image(Settings(root=ROOT, home=ROOT / "nowhere"), None, None, where)


def pinned(lock):
    """Return the hashes of each version that a lock pins, with its condition."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / lock).read_text(), flags=re.M).replace(" \\\n    ", " ")
    lines = [line.split(" --hash=") for line in text.splitlines() if line]
    return {line[0].strip(): frozenset(one.strip() for one in line[1:]) for line in lines}


def test_the_factorys_lock_is_a_part_of_the_lock_to_the_hash_and_holds_no_tool_of_tests():
    whole, part = pinned("requirements.txt"), pinned("requirements-factory.txt")
    names = {line.partition("==")[0] for line in part}
    assert {"prefect", "mlflow", "bentoml"} <= names
    assert not {"pytest", "moto", "playwright", "mypy"} & names
    versions = {line.partition(" ;")[0]: hashes for line, hashes in whole.items()}
    for line, hashes in part.items():
        assert hashes, line
        assert versions[line.partition(" ;")[0]] == hashes, line


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-serve.txt", "requirements-factory.txt"])
def test_a_lock_pins_one_version_of_a_package_whatever_the_python(lock):
    """Another numpy adds in another order: the same bytes under Python 3.11 to 3.13 rest on one of each."""
    names = [line.partition("==")[0] for line in pinned(lock)]
    assert "numpy" in names
    assert [name for name in names if names.count(name) > 1] == []
