"""SHC's Eq. 2 and files of similarities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from semicon_fast import centers


def test_products_02_05_09_become_16_times_minus_one_to_one():
    features = torch.eye(4)
    features[0] = torch.tensor([0, 0.2, 0.5, 0.9])
    row = centers.class_similarity(features, 16)[0]
    assert row.tolist() == pytest.approx([16, -16, -16 / 7, 16], abs=1e-5)
    assert float(row[2]) == pytest.approx(-2.2857, abs=1e-4)


@pytest.mark.parametrize("features", [torch.eye(2), torch.eye(5), torch.rand(2, 3)])
def test_equal_products_are_all_as_unlike_as_can_be(features):
    found = centers.class_similarity(features, 8)
    assert torch.equal(found, 16 * torch.eye(len(features), dtype=torch.float64) - 8)


vectors = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3)


@given(st.lists(vectors, min_size=3, max_size=6), st.integers(3, 64))
def test_products_are_stretched_to_the_whole_range_in_their_order(features, bits):
    """The supplement's Eq. 2: [min, max] of a row goes to [-k, k], and the order stays."""
    features = torch.tensor(features, dtype=torch.float64)
    found, products = centers.class_similarity(features, bits), features @ features.T
    for i in range(len(features)):
        others = [j for j in range(len(features)) if j != i]
        row, product = found[i, others], products[i, others]
        assert float(row.min()) == pytest.approx(-bits)
        assert float(row.max()) == pytest.approx(bits) or bool((row == -bits).all())
        order = product.argsort(stable=True)
        assert bool((row[order].diff() >= -1e-9).all())


def test_cosine_does_not_depend_on_lengths():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    scaled = features * torch.rand(6, 1).add(0.1)
    one, other = (centers.class_similarity(x, 16, "cosine") for x in (features, scaled))
    assert torch.allclose(one, other)
    assert not torch.allclose(*(centers.class_similarity(x, 16) for x in (features, scaled)))


def test_permuted_classes_have_permuted_similarities():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(6)
    found = centers.class_similarity(features, 16)
    again = centers.class_similarity(features[order], 16)
    assert torch.allclose(again, found[order][:, order])


def test_files_hold_similarities_or_features(tmp_path):
    features = torch.randn(5, 3)
    similarity = centers.class_similarity(features, 8)
    np.save(tmp_path / "s.npy", similarity.numpy())
    save_file({"similarity": similarity}, tmp_path / "s.safetensors")
    save_file({"features": features}, tmp_path / "f.safetensors")
    for name in ("s.npy", "s.safetensors", "f.safetensors"):
        assert torch.equal(centers.load_similarity(tmp_path / name, 5, 8), similarity)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (np.zeros((4, 4)), r"must be \(5, 5\) for 5 classes, got \(4, 4\)"),
        (np.zeros((5, 4)), r"must be \(5, 5\) for 5 classes, got \(5, 4\)"),
        (np.full((5, 5), np.nan), "must be finite, it has NaN or infinity"),
        (np.array([{}]), "is no .npy or .safetensors file"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, content, sentence):
    np.save(tmp_path / "s.npy", content, allow_pickle=True)
    with pytest.raises(ValueError, match=f"s.npy.*{sentence}"):
        centers.load_similarity(tmp_path / "s.npy", 5, 8)
    with pytest.raises(FileNotFoundError, match="similarity file .* does not exist"):
        centers.load_similarity(tmp_path / "none.npy", 5, 8)


@pytest.mark.parametrize(
    "features, kind, sentence",
    [
        (torch.randn(1, 3), "product", r"must be \(C, F\) with C >= 2"),
        (torch.full((3, 3), torch.nan), "product", "features must be finite"),
        (torch.randn(3, 3), "angle", "kind must be one of product, cosine"),
    ],
)
def test_wrong_features_are_refused(features, kind, sentence):
    with pytest.raises(ValueError, match=sentence):
        centers.class_similarity(features, 8, kind)
