"""The bento: what is served and nothing else, tagged by its content."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.promotion.bento import (
    RECIPE,
    bento_code,
    bento_digest,
    build_bento,
    code_digest,
    held_digest,
    served_sources,
    tree_digest,
)
from hedonic.promotion.built_bento import BuiltBento, verify_bento
from tests.project import copy_ours
from tests.tiny_release import tiny_release

ROOT = Path(__file__).parents[3]
LOCK = f"bentoml==1.4.39 \\\n    --hash=sha256:{'a' * 64}\nnumpy==2.4.6 \\\n    --hash=sha256:{'b' * 64}\n"


def copied_project(folder):
    """Return a project that holds what is served, and something that is not."""
    for path in (*served_sources(ROOT), RECIPE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    (folder / "src" / "hedonic" / "secret.py").write_text("import pandas\n")
    (folder / "requirements-serve.txt").write_text(LOCK)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copied_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return tiny_release(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home") / ".hedonic" / "bentoml"


@pytest.fixture(scope="module")
def bento(project, release, home):
    return build_bento(project, release, home, promoted=True)


def test_what_is_served_is_found_by_its_imports_and_learns_nothing():
    sources = {path.as_posix() for path in served_sources(ROOT)}
    assert {"bentos/valuation.py", "src/hedonic/__init__.py", "src/hedonic/model/booster.py"} <= sources
    learning = ("fitting", "calibration", "search", "snapshot", "validation", "promotion", "cli", "families")
    assert not [name for name in sources if any(word in name for word in learning)]


def test_what_is_served_names_no_library_that_learns():
    for path in served_sources(ROOT):
        lines = (ROOT / path).read_text().splitlines()
        imports = [line.strip() for line in lines if line.startswith(("import ", "from "))]
        for vendor in ("pandas", "sklearn", "mlflow", "optuna", "prefect", "great_expectations", "mapie"):
            assert not [line for line in imports if line.split()[1].partition(".")[0] == vendor], path


def test_an_import_for_type_checking_or_of_others_is_not_served(tmp_path):
    (tmp_path / "bentos").mkdir()
    package = tmp_path / "src" / "hedonic"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name in ("needed", "later", "only_typed"):
        (package / f"{name}.py").touch()
    (tmp_path / "bentos" / "valuation.py").write_text(
        "from typing import TYPE_CHECKING\nimport numpy\nimport hedonic.needed\n"
        "if TYPE_CHECKING:\n    from hedonic import only_typed\n"
        "def f():\n    from hedonic import later\n"
    )
    for name in ("container", "health"):
        (tmp_path / "bentos" / f"{name}.py").touch()
    names = [path.name for path in served_sources(tmp_path)]
    assert names == ["container.py", "health.py", "valuation.py", "__init__.py", "later.py", "needed.py"]


def test_a_release_that_was_never_promoted_gets_no_bento(project, release, tmp_path):
    with pytest.raises(ReleaseRefused, match="the history does not name it as promoted"):
        build_bento(project, release, tmp_path, promoted=False)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_release_gets_no_bento(project, release, tmp_path):
    damaged = shutil.copytree(release, tmp_path / release.name)
    (damaged / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        build_bento(project, damaged, tmp_path / "home", promoted=True)


def test_a_project_without_the_serving_lock_says_so(release, tmp_path):
    copy_ours(tmp_path, "bentos")
    with pytest.raises(HedonicError, match=r"requirements-serve.txt: not in"):
        build_bento(tmp_path, release, tmp_path / "home", promoted=True)


def test_a_project_without_the_images_recipe_says_so(release, tmp_path):
    project = copied_project(tmp_path / "project")
    (project / RECIPE).unlink()
    with pytest.raises(HedonicError, match=r"valuation.Dockerfile: not in"):
        build_bento(project, release, tmp_path / "home", promoted=True)


@pytest.mark.slow
def test_the_tag_is_the_digest_of_what_is_served(bento, project, release, home):
    digest = bento_digest(project, release.name)
    assert (bento.digest, bento.tag) == (digest, f"hedonic-tiny_town:{digest[:16]}")
    assert bento.folder == home / "bentos" / "hedonic-tiny_town" / digest[:16]


@pytest.mark.slow
def test_the_bento_holds_what_is_served_and_nothing_else(bento, project, release):
    source = bento.folder / "src"
    held = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert held == {path.as_posix().removeprefix("src/") for path in served_sources(project)}
    baked = source / "baked_release"
    assert [path.name for path in baked.iterdir()] == [release.name]
    assert (bento.folder / "env" / "python" / "requirements.txt").read_text() == LOCK


@pytest.mark.slow
def test_the_digest_is_found_again_in_what_the_bento_holds_and_every_change_is_seen(bento, tmp_path):
    assert held_digest(bento.folder) == bento.digest
    for number, name in enumerate(
        (
            "src/bentos/health.py",
            "src/hedonic/errors.py",
            "env/python/requirements.txt",
            "env/docker/Dockerfile",
        )
    ):
        changed = shutil.copytree(bento.folder, tmp_path / str(number))
        (changed / name).write_text("# changed\n")
        assert held_digest(changed) != bento.digest, name
    changed = shutil.copytree(bento.folder, tmp_path / "release")
    (changed / "src" / "baked_release" / ("e" * 64)).mkdir()
    with pytest.raises(ReleaseRefused, match="holds one release, not 2"):
        held_digest(changed)


@pytest.mark.slow
def test_the_bento_is_labelled_with_its_release_and_has_no_date_of_its_own(bento, release):
    facts = yaml.safe_load((bento.folder / "bento.yaml").read_text())
    assert facts["labels"]["hedonic.release"] == release.name
    assert str(facts["creation_time"]).startswith("2000-01-01")
    everything = b"".join(path.read_bytes() for path in bento.folder.rglob("*") if path.is_file())
    assert b"hedonic-bento-" not in everything  # the folder in which it was built


@pytest.mark.slow
def test_the_same_content_in_another_folder_is_the_same_bento_to_the_byte(bento, tmp_path):
    elsewhere = copied_project(tmp_path / "elsewhere")
    again = build_bento(elsewhere, tiny_release(tmp_path / "store"), tmp_path / "home", promoted=True)
    assert again.tag == bento.tag
    assert tree_digest(again.folder) == tree_digest(bento.folder)


@pytest.mark.slow
def test_the_bento_names_the_python_of_its_image_whichever_builds_it(release, tmp_path):
    project, other = copied_project(tmp_path / "project"), f"3.{sys.version_info.minor + 1}"
    recipe = project / RECIPE
    recipe.write_text(recipe.read_text().replace("python:3.11-slim", f"python:{other}-slim"))
    built = build_bento(project, release, tmp_path / "home", promoted=True)
    facts = yaml.safe_load((built.folder / "bento.yaml").read_text())
    assert facts["image"]["python_version"] == other
    assert facts["image"]["base_image"] == f"python:{other}-slim"


@pytest.mark.slow
def test_a_bento_that_is_there_is_kept_and_a_damaged_one_is_replaced(bento, project, release, home):
    inode = bento.folder.stat().st_ino
    assert build_bento(project, release, home, promoted=True) == bento
    assert bento.folder.stat().st_ino == inode
    whole = tree_digest(bento.folder)
    (bento.folder / "src" / "bentos" / "valuation.py").write_text("")
    assert build_bento(project, release, home, promoted=True) == bento
    assert tree_digest(bento.folder) == whole
    assert sorted(path.name for path in bento.folder.parent.iterdir()) == [bento.folder.name, "latest"]


def test_other_sources_another_lock_and_another_release_are_another_bento(project, release, tmp_path):
    digest = bento_digest(project, release.name)
    assert bento_digest(project, "f" * 64) != digest
    changed = copied_project(tmp_path / "changed")
    assert bento_digest(changed, release.name) == digest
    (changed / "src" / "hedonic" / "secret.py").write_text("# not served\n")
    assert bento_digest(changed, release.name) == digest
    (changed / RECIPE).write_text("FROM scratch\n")
    assert bento_digest(changed, release.name) != digest
    assert code_digest(changed) == code_digest(project)  # a running process need not end for it
    shutil.copy(project / RECIPE, changed / RECIPE)
    (changed / "src" / "hedonic" / "errors.py").write_text("# served\n")
    assert bento_digest(changed, release.name) != digest
    shutil.copy(project / "src" / "hedonic" / "errors.py", changed / "src" / "hedonic" / "errors.py")
    (changed / "requirements-serve.txt").write_text(LOCK.replace("2.4.6", "2.4.7"))
    assert bento_digest(changed, release.name) != digest


@pytest.mark.slow
def test_the_code_of_a_bento_is_that_of_any_other_release_and_not_of_other_sources(bento, project, tmp_path):
    assert bento_code(bento.folder) == code_digest(project)
    changed = copied_project(tmp_path / "changed")
    assert code_digest(changed) == code_digest(project)
    (changed / "src" / "hedonic" / "errors.py").write_text("# served\n")
    assert code_digest(changed) != code_digest(project)


@pytest.mark.slow
def test_a_built_bento_is_what_its_tag_says_and_lists_its_files(bento, project, release):
    built = verify_bento(bento.folder)
    assert built == BuiltBento(
        bento.tag, release.name, code_digest(project), tree_digest(bento.folder), is_listed=True
    )
    assert verify_bento(bento.folder, built.files) == built
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", "files.sha256"], cwd=bento.folder, check=False
    )
    assert checked.returncode == 0


@pytest.mark.slow
def test_a_changed_byte_in_any_file_of_a_bento_is_refused_by_its_name(bento, tmp_path):
    copy = tmp_path / "hedonic-tiny_town" / bento.folder.name
    shutil.copytree(bento.folder, copy)
    files = [path for path in copy.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(files) > 100
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if whole else b"x")
        with pytest.raises(ReleaseRefused, match=path.name):
            verify_bento(copy)
        path.write_bytes(whole)
    verify_bento(copy)


@pytest.mark.slow
def test_a_bento_without_its_list_is_still_held_to_its_tag(bento, tmp_path):
    copy = tmp_path / "hedonic-tiny_town" / bento.folder.name
    shutil.copytree(bento.folder, copy)
    (copy / "files.sha256").unlink()
    assert not verify_bento(copy).is_listed
    with pytest.raises(ReleaseRefused, match="the history recorded"):
        verify_bento(copy, "f" * 64)
    served = copy / "src" / "hedonic" / "serving" / "predictor.py"
    served.write_text(served.read_text() + "# changed\n")
    with pytest.raises(ReleaseRefused, match="another than its tag"):
        verify_bento(copy)


@pytest.mark.slow
def test_bentoml_lists_it_and_loads_its_own_code(bento, home):
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    code = (
        f"import bentoml; print([str(b.tag) for b in bentoml.list()]); bentoml.load({str(bento.folder)!r});"
        "import hedonic.serving.predictor as p; print(p.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    listed, file = done.stdout.splitlines()[-2:]
    assert listed == str([bento.tag])
    assert Path(file).is_relative_to(bento.folder)
