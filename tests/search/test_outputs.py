"""Asymmetric search of an index: `HammingIndex.search(outputs=...)`."""

import numpy as np
import pytest
import torch

from semicon_fast import HammingIndex
from semicon_fast.codes import pack_codes
from semicon_fast.reference import scores as reference


@pytest.fixture
def index():
    generator = torch.Generator().manual_seed(0)
    index = HammingIndex(20)
    index.add(pack_codes(torch.randn(500, 20, generator=generator)), range(1000, 1500))
    return index


@pytest.fixture
def outputs():
    return torch.randn(6, 20, generator=torch.Generator().manual_seed(1))


def test_ids_by_score(index, outputs):
    codes = index.reconstruct(torch.arange(1000, 1500))
    scores, positions = reference.score_topk(outputs, codes, 9)
    found, ids = index.search(outputs=outputs, k=9)
    assert torch.equal(found, scores)
    assert torch.equal(ids, positions + 1000)


def test_signs_alone_give_the_order_of_distances(index, outputs):
    signs = torch.where(outputs >= 0, 1.0, -1.0)
    scores, ids = index.search(outputs=signs, k=500)
    distances, nearest = index.search(pack_codes(outputs), 500)
    assert torch.equal(ids, nearest)
    assert torch.equal(scores, 20.0 - 2 * distances)


def test_arrays_subsets_and_padding(index, outputs):
    scores, ids = index.search(outputs=outputs.numpy().astype(np.float16), k=4, subset=[1003, 1001])
    assert isinstance(ids, np.ndarray) and scores.dtype == np.float32
    assert sorted(ids[0, :2]) == [1001, 1003]
    assert (ids[:, 2:] == -1).all() and np.isneginf(scores[:, 2:]).all()
    assert index.search(outputs=outputs[:0], k=3)[1].shape == (0, 3)


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({}, ValueError, "either queries or outputs"),
        ({"outputs": torch.zeros(1, 19)}, ValueError, r"outputs must be \(Q, 20\)"),
        ({"outputs": torch.full((1, 20), torch.nan)}, ValueError, "outputs must be finite"),
        ({"outputs": torch.full((1, 20), 1e38)}, ValueError, "sum of magnitudes"),
        ({"outputs": torch.zeros(1, 20, dtype=torch.int64)}, TypeError, "floating point"),
        (
            {"outputs": torch.zeros(1, 20), "by_part": True},
            ValueError,
            "weights, by_part or method",
        ),
        (
            {"outputs": torch.zeros(1, 20), "method": "scan"},
            ValueError,
            "weights, by_part or method",
        ),
        ({"outputs": torch.zeros(1, 20), "k": 0}, ValueError, "k must be an integer"),
    ],
)
def test_wrong_outputs(index, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        index.search(**arguments)
