"""Two-stage search: the candidates of an index, ordered by features, against `rerank`."""

import numpy as np
import pytest
import torch

from semicon_fast import HammingIndex, TwoStageIndex, rerank
from semicon_fast.codes import pack_codes
from semicon_fast.search import two_stage

N, BITS, WIDTH = 400, 24, 30


@pytest.fixture
def features():
    return torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def queries():
    return torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["counted", "own ids"])
def index(request, features):
    index = HammingIndex(BITS)
    ids = None if request.param == "counted" else torch.arange(N) * 3 + 5
    index.add(pack_codes(features[:, :BITS]), ids)
    return index


def kept(features, stored):
    """What a row is worth once it is stored, by plain arithmetic."""
    if stored == "int8":
        scale = features.abs().amax(1, keepdim=True) / 127
        return (features / scale).round() * scale
    return features.to(getattr(torch, stored)).float()


@pytest.mark.parametrize("stored", ["float32", "float16", "int8"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
def test_it_is_a_search_and_a_reranking(index, features, queries, stored, metric):
    two = TwoStageIndex(index, features, metric, stored=stored)
    codes = pack_codes(queries[:, :BITS])
    near, ids = two.search(codes, queries, 5, candidates=50)
    candidates = index.search(codes, 50)[1]
    rows = torch.searchsorted(torch.from_numpy(index.ids()), candidates)
    wanted, where = rerank(queries, kept(features, stored), rows, 5, metric=metric)
    assert torch.equal(near, wanted)
    assert torch.equal(ids, torch.from_numpy(index.ids())[where])


def test_candidates_by_outputs_and_subsets(index, features, queries):
    two = TwoStageIndex(index, features)
    some = index.ids()[10:40]
    near, ids = two.search(
        None, queries.numpy(), 35, candidates=40, outputs=queries[:, :BITS].numpy(), subset=some
    )
    assert isinstance(ids, np.ndarray) and set(ids[0, :30]) == set(some)
    assert (ids[:, 30:] == -1).all() and np.isinf(near[:, 30:]).all()


@pytest.mark.parametrize("stored", ["float32", "float16", "int8"])
def test_saved_and_mapped(tmp_path, index, features, queries, stored):
    two = TwoStageIndex(index, features, "cosine", stored=stored)
    codes = pack_codes(queries[:, :BITS])
    wanted = two.search(codes, queries, 9, candidates=100)
    for _ in range(2):  # the second time in place of the first
        two.save(tmp_path / "two")
    again = TwoStageIndex.load(tmp_path / "two")
    assert repr(again) == repr(two)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.search(codes, queries, 9, candidates=100), wanted, strict=True)
    )
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [
        two_stage.FEATURES,
        two_stage.INDEX,
    ]


def test_mapped_features_stay_in_their_file(tmp_path, index, features, queries):
    np.save(tmp_path / "features.npy", features.numpy())
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    two = TwoStageIndex(index, mapped)
    assert two._rows.features.data_ptr() == mapped.ctypes.data
    codes = pack_codes(queries[:, :BITS])
    plain = TwoStageIndex(index, features)
    assert torch.equal(two.search(codes, queries, 3)[1], plain.search(codes, queries, 3)[1])


@pytest.mark.parametrize(
    "changed, error, sentence",
    [
        ({"features": torch.zeros(N - 1, 3)}, ValueError, "a row for each of the 400 codes"),
        ({"features": torch.full((N, 3), torch.nan)}, ValueError, "features must be finite"),
        ({"features": torch.zeros(N, 0)}, ValueError, "at least one value"),
        ({"features": torch.zeros(N, 3, dtype=torch.int8)}, TypeError, "floating point"),
        ({"features": torch.full((N, 3), 1e6), "stored": "float16"}, ValueError, "as float16"),
        ({"stored": "int4"}, ValueError, "stored must be one of float32, float16, int8"),
        ({"metric": "l1"}, ValueError, "metric must be one of"),
        ({"index": 3}, TypeError, "index must be an index of codes, got int"),
    ],
)
def test_wrong_features(index, features, changed, error, sentence):
    given = {"index": index, "features": features} | changed
    with pytest.raises(error, match=sentence):
        TwoStageIndex(**given)


@pytest.mark.parametrize(
    "changed, error, sentence",
    [
        ({"candidates": 9}, ValueError, "candidates must be at least k, 10, got 9"),
        ({"k": 0}, ValueError, "k must be an integer >= 1"),
        ({"query_features": torch.zeros(7, 3)}, ValueError, r"\(Q, 30\) as the features"),
        ({"query_features": torch.zeros(6, WIDTH)}, ValueError, "each of the 7 queries, got 6"),
        ({"query_features": torch.full((7, WIDTH), torch.inf)}, ValueError, "must be finite"),
        ({"exact": False}, ValueError, "needs an index of tables"),
        ({"queries": None}, ValueError, "either queries or outputs"),
    ],
)
def test_wrong_searches(index, features, queries, changed, error, sentence):
    two = TwoStageIndex(index, features)
    given = {"queries": pack_codes(queries[:, :BITS]), "query_features": queries, "k": 10} | changed
    with pytest.raises(error, match=sentence):
        two.search(**given)


def test_an_index_that_changed_is_refused(index, features, queries):
    two = TwoStageIndex(index, features)
    index.add(index.reconstruct(index.ids()[:1]))
    with pytest.raises(ValueError, match="401 codes, but the features are those of 400"):
        two.search(pack_codes(queries[:, :BITS]), queries, 3)


def test_files_of_another_kind_and_of_another_index(tmp_path, index, features):
    folder = tmp_path / "two"
    TwoStageIndex(index, features).save(folder)
    parts = folder / two_stage.INDEX, folder / two_stage.FEATURES
    index.remove_ids(index.ids()[:1])
    index.save(parts[0])
    with pytest.raises(ValueError, match="belongs to another index"):
        TwoStageIndex.load(folder)
    with pytest.raises(ValueError, match="is no Hamming index"):
        HammingIndex.load(parts[1])
    parts[1].write_bytes(parts[0].read_bytes())
    with pytest.raises(ValueError, match="no features of a two-stage index"):
        TwoStageIndex.load(folder)
    parts[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"features\.safetensors does not exist"):
        TwoStageIndex.load(folder)
    with pytest.raises(NotADirectoryError, match="it is a file"):
        TwoStageIndex(index, features[1:]).save(parts[0])
