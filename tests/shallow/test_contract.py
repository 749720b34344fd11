"""Every hasher keeps scikit-learn's contract, and gives codes that do not depend on how they were
asked for."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch

from semicon_fast import pack_codes, shallow, unpack_codes
from semicon_fast.shallow import _base

BITS = 12
# Arguments that keep the tests short and differ from the defaults.
OPTIONS = {
    "lsh": {},
    "itq": {"iterations": 10, "normalise": True},
    "cca-itq": {"iterations": 10, "ridge": 1e-3},
    "ksh": {"anchors": 20, "sample": 60, "iterations": 20},
    "sdh": {"anchors": 20, "iterations": 3, "width": 0.5},
}
each = pytest.mark.parametrize("name", shallow.NAMES)
supervised = [name for name in shallow.NAMES if shallow.hasher_class(name).supervised]
pytestmark = pytest.mark.filterwarnings("ignore:cca-itq. 5 classes give at most 4 directions")


def draw(rows=150, width=20, classes=5, seed=0):
    """Features float32 (rows, width) in groups of a class, and labels int64 (rows,)."""
    draws = np.random.default_rng(seed)
    middles = np.random.default_rng(1).normal(size=(classes, width))
    labels = draws.integers(classes, size=rows)
    noise = draws.normal(size=(rows, width))
    return (middles[labels] + 0.5 * noise).astype(np.float32), labels


FEATURES, LABELS = draw()
QUERIES, _ = draw(rows=37, seed=2)


def fitted(name, **options):
    return shallow.build(name, BITS, **{**OPTIONS[name], **options}).fit(FEATURES, LABELS)


def test_the_registry_names_the_classes():
    assert shallow.NAMES == ("lsh", "itq", "cca-itq", "ksh", "sdh")
    for name in shallow.NAMES:
        assert shallow.hasher_class(name).name == name and name in OPTIONS
    kinds = (shallow.LSH, shallow.ITQ, shallow.CCAITQ, shallow.KSH, shallow.SDH)
    assert tuple(map(shallow.hasher_class, shallow.NAMES)) == kinds


@each
def test_codes_are_packed_signs_of_the_values(name):
    hasher = fitted(name)
    codes, values = hasher.encode(QUERIES), hasher.project(QUERIES)
    assert codes.dtype == np.uint8 and codes.shape == (37, 2)
    assert values.dtype == np.float32 and values.shape == (37, BITS)
    assert np.array_equal(codes, pack_codes(values))
    assert hasher.bits == BITS and hasher.n_features_in_ == 20
    assert hasher.project(QUERIES.astype(np.float64)).dtype == np.float64


@each
def test_neighbours_share_more_bits_than_others(name):
    signs = unpack_codes(fitted(name).encode(FEATURES), BITS).astype(int)
    distances = (BITS - signs @ signs.T) / 2
    same = LABELS[:, None] == LABELS
    assert distances[same].mean() < 0.75 * distances[~same].mean()


@each
def test_the_constructor_only_stores_its_arguments(name):
    kind = shallow.hasher_class(name)
    marks = {p: object() for p in inspect.signature(kind).parameters}
    hasher = kind(**marks)
    assert hasher.get_params() == marks and vars(hasher) == marks
    assert {"bits", "seed"} <= set(marks)


@each
def test_parameters_can_be_read_and_changed(name):
    hasher = fitted(name)
    assert hasher.set_params(bits=7, seed=3) is hasher
    assert hasher.get_params(deep=False)["bits"] == 7 and hasher.seed == 3
    for option, value in OPTIONS[name].items():
        assert hasher.get_params()[option] == value
    with pytest.raises(ValueError, match="call fit first"):
        hasher.encode(QUERIES)
    assert hasher.fit(FEATURES, LABELS).encode(QUERIES).shape == (37, 1)
    with pytest.raises(ValueError, match=rf"{name} has no parameter 'bit', it has bits, "):
        hasher.set_params(bit=9)
    assert repr(shallow.build(name, 8, seed=4)).startswith(type(hasher).__name__ + "(bits=8, ")


@each
def test_scikit_learn_clones_them(name):
    base = pytest.importorskip("sklearn.base")
    hasher = fitted(name, seed=5)
    again = base.clone(hasher)
    assert again.get_params() == hasher.get_params() and not hasattr(again, "state_")
    assert np.array_equal(again.fit(FEATURES, LABELS).encode(QUERIES), hasher.encode(QUERIES))


@each
def test_saved_and_loaded_they_give_the_same_codes(name, tmp_path):
    hasher = fitted(name)
    hasher.save(tmp_path / "hasher")
    again = shallow.load(tmp_path / "hasher")
    assert type(again) is type(hasher) and again.get_params() == hasher.get_params()
    assert np.array_equal(again.encode(QUERIES), hasher.encode(QUERIES))
    assert again.n_features_in_ == 20 and set(again.state_) == set(hasher.state_)
    assert np.array_equal(again.fit(FEATURES, LABELS).encode(QUERIES), hasher.encode(QUERIES))
    for other in (copy.deepcopy(hasher), pickle.loads(pickle.dumps(hasher))):
        assert np.array_equal(other.encode(QUERIES), hasher.encode(QUERIES))


@each
def test_arrays_and_tensors_of_every_precision_give_the_same_codes(name):
    features, queries = (np.round(x, 1).astype(np.float16) for x in (FEATURES, QUERIES))
    expected = shallow.build(name, BITS, **OPTIONS[name]).fit(features, LABELS).encode(queries)
    for dtype in (torch.float16, torch.float32, torch.float64):
        hasher = shallow.build(name, BITS, **OPTIONS[name])
        hasher.fit(torch.from_numpy(features).to(dtype), torch.from_numpy(LABELS))
        codes = hasher.encode(torch.from_numpy(queries).to(dtype).requires_grad_())
        assert isinstance(codes, torch.Tensor) and np.array_equal(codes.numpy(), expected)
        assert np.array_equal(hasher.encode(queries.astype(np.float32)), expected)


@each
def test_layouts_do_not_matter(name):
    hasher, expected = fitted(name), fitted(name).encode(QUERIES)
    wide = np.zeros((74, 40), np.float32)
    wide[::2, ::2] = QUERIES
    for same in (np.asfortranarray(QUERIES), wide[::2, ::2], QUERIES[::-1][::-1].copy()):
        assert np.array_equal(hasher.encode(same), expected)
    assert np.array_equal(hasher.encode(QUERIES[::-1]), expected[::-1])
    other = shallow.build(name, BITS, **OPTIONS[name]).fit(np.asfortranarray(FEATURES), LABELS)
    assert np.array_equal(other.encode(QUERIES), expected)


@each
def test_blocks_give_what_the_whole_gives(name, monkeypatch):
    expected = fitted(name).encode(QUERIES)
    monkeypatch.setattr(_base, "_VALUES", 7 * 20)  # blocks of 7 rows at most
    hasher = fitted(name)
    assert np.array_equal(hasher.encode(QUERIES), expected)
    assert hasher.project(QUERIES).shape == (37, BITS)


@each
def test_a_row_has_its_code_alone_and_among_the_training_rows(name):
    hasher = fitted(name)
    together = hasher.encode(FEATURES)
    for row in (0, 77, 149):
        assert np.array_equal(hasher.encode(FEATURES[row : row + 1]), together[row : row + 1])
    none = hasher.encode(FEATURES[:0])
    assert none.shape == (0, 2) and hasher.project(FEATURES[:0]).shape == (0, BITS)


@each
def test_the_seed_decides(name):
    one, same, other = (fitted(name, seed=seed).encode(FEATURES) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    state = torch.random.get_rng_state()
    fitted(name)
    assert torch.equal(torch.random.get_rng_state(), state)


@each
def test_fitting_again_replaces_what_was_learned(name):
    others, theirs = draw(rows=90, width=16, seed=3)
    hasher = fitted(name).fit(others, theirs)
    fresh = shallow.build(name, BITS, **OPTIONS[name]).fit(others, theirs)
    assert np.array_equal(hasher.encode(others), fresh.encode(others))


def spoilt(value):
    features = FEATURES.copy()
    features[-1, -1] = value
    return features


@each
@pytest.mark.parametrize(
    "features, error, sentence",
    [
        (FEATURES[0], ValueError, r"features must be \(N, F\), got \(20,\)"),
        (FEATURES[None], ValueError, r"features must be \(N, F\)"),
        (FEATURES.astype(int), TypeError, "features must be floating point, got torch.int64"),
        (FEATURES.tolist(), TypeError, "features must be a NumPy array or a torch tensor"),
        (spoilt(np.nan), ValueError, "features must be finite, got NaN or infinity"),
        (spoilt(np.inf), ValueError, "features must be finite"),
        (FEATURES[:0], ValueError, r"features must have at least two rows.*got \(0, 20\)"),
        (FEATURES[:1], ValueError, "at least two rows"),
        (FEATURES[:, :0], ValueError, "one column"),
    ],
)
def test_wrong_features_change_nothing(name, features, error, sentence):
    hasher = fitted(name)
    expected = hasher.encode(QUERIES)
    with pytest.raises(error, match=sentence):
        hasher.fit(features, LABELS[: len(features)])
    assert np.array_equal(hasher.encode(QUERIES), expected)
    if len(features) and "two rows" not in sentence and "column" not in sentence:
        with pytest.raises(error, match=sentence):
            hasher.encode(features)


@each
def test_codes_need_features_of_the_fitted_width(name):
    with pytest.raises(ValueError, match=r"features must be \(N, 20\).*got \(37, 19\)"):
        fitted(name).encode(QUERIES[:, 1:])
    new = shallow.build(name, BITS)
    for use in (new.encode, new.project):
        with pytest.raises(ValueError, match=f"{name} has learned nothing yet: call fit first"):
            use(QUERIES)


@each
@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"bits": 0}, ValueError, "bits must be an integer from 1 to 4096, got 0"),
        ({"bits": 4097}, ValueError, "bits must be"),
        ({"bits": 8.0}, TypeError, "bits must be an integer"),
        ({"bits": 8, "seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
        ({"bits": 8, "sead": 1}, ValueError, "has no option 'sead', it has .*did you mean seed"),
    ],
)
def test_wrong_parameters_are_refused_when_built(name, options, error, sentence):
    with pytest.raises(error, match=sentence):
        shallow.build(name, **options)


@pytest.mark.parametrize(
    "name, option, value",
    [
        ("itq", "iterations", -1),
        ("itq", "normalise", 1),
        ("cca-itq", "ridge", 0),
        ("cca-itq", "iterations", 1.5),
        ("ksh", "anchors", 0),
        ("ksh", "sample", 1),
        ("ksh", "iterations", -1),
        ("sdh", "anchors", 0),
        ("sdh", "width", 0.0),
        ("sdh", "iterations", 0),
        ("sdh", "sweeps", 0),
        ("sdh", "lam", 0),
        ("sdh", "nu", float("nan")),
        ("sdh", "ridge", "much"),
    ],
)
def test_wrong_options_are_named(name, option, value):
    with pytest.raises((TypeError, ValueError), match=f"^{option} must be"):
        shallow.build(name, 8, **{option: value})
    hasher = shallow.hasher_class(name)(8, **{option: value})
    with pytest.raises((TypeError, ValueError), match=f"^{option} must be"):
        hasher.fit(FEATURES, LABELS)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="hasher must be one of lsh, itq, .*, got 'pca'"):
        shallow.build("pca", 8)


@pytest.mark.parametrize("name", sorted(set(shallow.NAMES) - set(supervised)))
def test_unsupervised_hashers_ignore_labels(name):
    without = shallow.build(name, BITS, **OPTIONS[name]).fit(FEATURES)
    assert np.array_equal(without.encode(QUERIES), fitted(name).encode(QUERIES))


@pytest.mark.parametrize("name", supervised)
@pytest.mark.parametrize(
    "labels, error, sentence",
    [
        (None, ValueError, "learns from labels: fit needs labels, got None"),
        (LABELS[:-1], ValueError, "one row for each of the 150 features, got 149"),
        (LABELS.astype(float), TypeError, r"labels must be integers \(N,\) or bool \(N, C\)"),
        (LABELS.astype(str), TypeError, "number the classes"),
        (np.eye(5)[LABELS].astype(int), TypeError, "convert labels of 0 and 1 to bool"),
        (np.where(LABELS == 0, -1, LABELS), ValueError, "rows without one; leave them out"),
        (np.zeros_like(LABELS), ValueError, "at least two classes"),
        (np.zeros((150, 3), bool), ValueError, "150 rows without one"),
    ],
)
def test_wrong_labels_are_refused(name, labels, error, sentence):
    with pytest.raises(error, match=sentence):
        shallow.build(name, BITS, **OPTIONS[name]).fit(FEATURES, labels)


@pytest.mark.parametrize("name", supervised)
def test_one_label_a_row_may_be_given_as_any_integers_or_as_bool(name):
    expected = fitted(name).encode(QUERIES)
    for labels in (10 * LABELS + 3, LABELS.astype(np.int8), np.eye(5, dtype=bool)[LABELS]):
        hasher = shallow.build(name, BITS, **OPTIONS[name]).fit(FEATURES, labels)
        assert np.array_equal(hasher.encode(QUERIES), expected)


@pytest.mark.parametrize("name", ["itq", "cca-itq"])
def test_more_bits_than_features_are_refused(name):
    with pytest.raises(ValueError, match="bits must be at most 20.*got 21"):
        shallow.build(name, 21).fit(FEATURES, LABELS)


def test_without_principal_directions_there_may_be_more_bits_than_features():
    for name in ("lsh", "ksh", "sdh"):
        hasher = shallow.build(name, 33, **OPTIONS[name]).fit(FEATURES, LABELS)
        assert hasher.encode(QUERIES).shape == (37, 5)
