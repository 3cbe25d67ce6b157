"""Candidates on disk: named by what they are, whole or not at all, and never loaded altered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hedonic.errors import HedonicError
from hedonic.model.candidate import CandidateStore, FitReport
from hedonic.model.recipe import Recipe
from hedonic.model.training import Candidate
from tests.tiny_release import ROW, tiny_columns, tiny_model

RECIPE = Recipe(family="boosting", parameters={"n_estimators": 12}, n_clusters=None, seed=0)
CANDIDATE = Candidate(tiny_model(), (3.0, 2.0), {"area": 9.0})


def test_a_candidate_is_named_by_its_model_and_comes_back_as_it_was(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path)
    name = store.save(CANDIDATE, RECIPE)
    assert (name.dataset, name.recipe, name.n_trees, name.max_leaves) == ("tiny_town", RECIPE, 12, 7)
    assert store.folder(name) == tmp_path / "tiny_town" / name.digest
    loaded, rows = store.load(name), tiny_columns(ROW)
    assert loaded.estimate(rows).estimate.tobytes() == CANDIDATE.model.estimate(rows).estimate.tobytes()
    assert store.report(name) == FitReport(curve=(3.0, 2.0), importances={"area": 9.0})


def test_the_same_model_is_the_same_candidate_and_another_is_another(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path)
    first = store.save(CANDIDATE, RECIPE)
    assert store.save(CANDIDATE, RECIPE) == first
    other = store.save(Candidate(tiny_model(seed=1), (), {}), RECIPE)
    assert other.digest != first.digest
    assert {path.name for path in (tmp_path / "tiny_town").iterdir()} == {first.digest, other.digest}


def test_a_candidate_in_another_place_has_the_same_name(tmp_path: Path) -> None:
    names = [CandidateStore(tmp_path / where).save(CANDIDATE, RECIPE) for where in ("here", "there")]
    assert names[0] == names[1]


def test_a_candidate_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path)
    unwritable = Candidate(CANDIDATE.model, (1.0,), {"area": object()})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="importances"):
        store.save(unwritable, RECIPE)
    assert list((tmp_path / "tiny_town").iterdir()) == []


def test_an_altered_candidate_is_not_loaded(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path)
    name = store.save(CANDIDATE, RECIPE)
    path = store.folder(name) / "model" / "model.json"
    path.write_text(path.read_text().replace("1.7", "0.1"))
    with pytest.raises(HedonicError, match=r"candidate \w{16} of tiny_town was altered\. Delete"):
        store.load(name)


def test_a_candidate_that_is_gone_says_what_to_run(tmp_path: Path) -> None:
    name = CandidateStore(tmp_path / "there").save(CANDIDATE, RECIPE)
    with pytest.raises(HedonicError, match="is gone.*Run again from the step 'train'"):
        CandidateStore(tmp_path / "here").load(name)


def test_a_name_survives_json(tmp_path: Path) -> None:
    name = CandidateStore(tmp_path).save(CANDIDATE, RECIPE)
    assert type(name).model_validate_json(name.model_dump_json()) == name
    assert np.isfinite(CANDIDATE.model.level)
