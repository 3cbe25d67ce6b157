"""The booster through LightGBM's C library."""

import gc
import pickle
import threading

import lightgbm
import numpy as np
import pytest

from hedonic.errors import HedonicError
from hedonic.model.booster import Booster


def table(n_rows, n_features=6, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n_rows, n_features))
    matrix[:, 5] = rng.integers(0, 8, n_rows)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix


def fitted(**parameters):
    matrix = table(600)
    target = np.nan_to_num(matrix[:, 0]) + (matrix[:, 5] == 3) + np.random.default_rng(1).normal(0, 0.1, 600)
    chosen = {"num_threads": 1, "verbose": -1, "num_leaves": 15, "min_data_per_group": 5, **parameters}
    return lightgbm.train(chosen, lightgbm.Dataset(matrix, target, categorical_feature=[5]), 25)


RECIPES = {
    "boosting": {},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    "categorical": {"max_cat_to_onehot": 1},
    "one leaf": {"min_data_in_leaf": 1000},
}


@pytest.fixture(params=RECIPES, ids=str)
def package(request):
    return fitted(**RECIPES[request.param])


@pytest.fixture(scope="module")
def text():
    return fitted().model_to_string()


def test_scores_have_the_bits_of_the_lightgbm_package(package):
    matrix = table(500, seed=2)
    scores = Booster.from_text(package.model_to_string()).predict(matrix)
    np.testing.assert_array_equal(scores, package.predict(matrix, num_threads=1))


def test_a_batch_has_the_bits_of_its_single_rows(package):
    booster, matrix = Booster.from_text(package.model_to_string()), table(300, seed=3)
    batch = booster.predict(matrix)
    assert [booster.predict_row(row) for row in matrix] == batch.tolist()
    assert [booster.predict(matrix[i : i + 1])[0] for i in range(300)] == batch.tolist()


def test_contributions_are_those_of_the_package_and_add_up_to_the_score(package):
    booster, matrix = Booster.from_text(package.model_to_string()), table(50, seed=4)
    contributions = booster.contributions(matrix)
    wanted = package.predict(matrix, pred_contrib=True, num_threads=1)
    if "average_output" in booster.text:
        wanted = wanted / booster.n_trees  # the package adds up what a forest averages
    np.testing.assert_array_equal(contributions, wanted)
    np.testing.assert_allclose(contributions.sum(axis=1), booster.predict(matrix), rtol=1e-12)


def test_it_knows_its_features_and_trees(text):
    booster = Booster.from_text(text)
    assert (booster.n_features, booster.n_trees, booster.text) == (6, 25, text)


def test_a_copy_made_by_pickle_answers_the_same(text):
    booster, matrix = Booster.from_text(text), table(20, seed=5)
    copy = pickle.loads(pickle.dumps(booster))
    np.testing.assert_array_equal(copy.predict(matrix), booster.predict(matrix))


def test_matrices_of_any_memory_order_are_answered_alike(text):
    booster, matrix = Booster.from_text(text), table(40, seed=6)
    wide = np.zeros((40, 12))
    wide[:, ::2] = matrix
    for other in (np.asfortranarray(matrix), wide[:, ::2]):
        np.testing.assert_array_equal(booster.predict(other), booster.predict(matrix))


def test_no_rows_give_no_scores(text):
    assert Booster.from_text(text).predict(np.empty((0, 6))).shape == (0,)


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (6,)])
def test_a_wrong_number_of_features_is_refused(text, shape):
    with pytest.raises(ValueError, match=r"the booster takes \(n_rows, 6\)"):
        Booster.from_text(text).predict(np.zeros(shape))


def test_a_row_of_the_wrong_length_is_refused(text):
    with pytest.raises(ValueError, match=r"shape \(5,\), the booster takes \(6,\)"):
        Booster.from_text(text).predict_row(np.zeros(5))


@pytest.mark.parametrize("cut", [0, 3, 200, 0.3, 0.9])
def test_text_that_is_cut_off_is_refused(text, cut):
    body = text[: text.index("end of trees")]
    with pytest.raises(HedonicError, match="not a whole model"):
        Booster.from_text(body[: cut if isinstance(cut, int) else int(len(body) * cut)])


@pytest.mark.parametrize("text", ["", "tree", "\x80\x04\x95 a pickle", "{}"])
def test_what_is_no_model_is_refused(text):
    with pytest.raises(HedonicError, match="not a whole model"):
        Booster.from_text(text)


def test_a_model_of_several_outputs_is_refused():
    matrix = table(300)
    parameters = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    several = lightgbm.train(parameters, lightgbm.Dataset(matrix, np.arange(300) % 3), 2)
    with pytest.raises(HedonicError, match="more than one output a row"):
        Booster.from_text(several.model_to_string())


def test_a_damaged_tree_is_refused_instead_of_ending_the_process(text):
    rng = np.random.default_rng(7)
    refused = 0
    for position in rng.integers(0, text.index("end of trees") + 12, 300):
        flipped = chr(ord(text[position]) ^ (1 << int(rng.integers(7))))
        try:
            Booster.from_text(text[:position] + flipped + text[position + 1 :]).predict(table(20))
        except HedonicError:
            refused += 1
    assert refused > 100  # the others changed a digit inside a number: a release's digests catch these


@pytest.mark.parametrize(
    ("line", "damage", "message"),
    [
        ("split_feature=", "split_feature=77 ", "split_feature"),
        ("left_child=", "left_child=0 ", "left_child"),
        ("leaf_value=", "leaf_value=x", "leaf_value"),
        ("num_leaves=", "num_leaves=9", "is not"),
        ("is_linear=0", "is_linear=1", "is_linear"),
        ("Tree=1", "Tree=7", "Tree=7"),
    ],
)
def test_a_damage_is_named(text, line, damage, message):
    at = text.index(f"\n{line}") + 1
    end = text.index("\n", at)
    value = text[at + len(line) : end]
    if damage.endswith(" "):
        value = value.partition(" ")[2]
    changed = text[:at] + damage + value + text[end:]
    sizes = text.partition("tree_sizes=")[2].partition("\n")[0].split()
    tree = 1 if line == "Tree=1" else 0
    grown = [str(int(size) + (len(changed) - len(text)) * (i == tree)) for i, size in enumerate(sizes)]
    with pytest.raises(HedonicError, match=message):
        Booster.from_text(changed.replace(" ".join(sizes), " ".join(grown)))


def test_threads_may_predict_at_once(text):
    booster, matrix = Booster.from_text(text), table(200, seed=8)
    wanted, got = booster.predict(matrix).tolist(), {}

    def work(name):
        got[name] = [booster.predict_row(row) for row in matrix for _ in range(5)][::5]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(got[name] == wanted for name in range(4))


def test_boosters_that_go_away_give_their_memory_back(text):
    import psutil

    def rss():
        gc.collect()
        return psutil.Process().memory_info().rss

    for _ in range(20):
        Booster.from_text(text)
    before = rss()
    for _ in range(400):
        Booster.from_text(text)
    assert rss() - before < 400 * len(text) / 4
