"""Images to packed codes: kinds, batches, modes, and refusals."""

import numpy as np
import pytest
import torch

from semicon_fast.codes import pack_codes
from semicon_fast.models import DSHNet, HashModel, SmallHashNet, build


def images(count=7, size=16, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def network(bits=12):
    return build({"network": "small", "code_length": bits, "width": 4}, seed=0)


@pytest.mark.parametrize("bits", [1, 8, 12, 48])
def test_codes_are_the_packed_signs_of_the_outputs(bits):
    model = network(bits).eval()
    codes = model.encode(images())
    assert codes.dtype is torch.uint8 and codes.shape == (7, -(-bits // 8))
    assert torch.equal(codes, pack_codes(model(images()).codes.detach()))


def test_the_kind_that_went_in_comes_out():
    model = network()
    from_torch, from_numpy = model.encode(images()), model.encode(images().numpy())
    assert isinstance(from_torch, torch.Tensor) and isinstance(from_numpy, np.ndarray)
    assert np.array_equal(from_torch.numpy(), from_numpy)
    assert np.array_equal(model.encode(images().double().numpy()), from_numpy)
    frozen = images().numpy()
    frozen.flags.writeable = False
    assert np.array_equal(model.encode(frozen), from_numpy)
    assert not from_torch.is_inference()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100, None])
def test_the_batch_size_does_not_change_the_codes(batch_size):
    model = network(48)
    assert torch.equal(model.encode(images(), batch_size), model.encode(images()))


def test_no_images_give_no_codes():
    codes = network(12).encode(images()[:0])
    assert codes.shape == (0, 2) and codes.dtype is torch.uint8


def test_encoding_leaves_modes_and_statistics_as_they_were():
    model = network().train()
    model.features[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = model.encode(images())
    assert model.training and not model.features[1].training and model.features[2].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(first, model.eval().encode(images()))


def test_modes_are_restored_after_a_refusal():
    model = network().train()
    with torch.no_grad():
        model.hash.weight[3, 2] = float("nan")
    with pytest.raises(ValueError, match="the network's outputs are not finite"):
        model.encode(images())
    assert model.training


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (torch.zeros(3, 16, 16), ValueError, r"images must be \(B, 3, H, W\), got \(3, 16, 16\)"),
        (torch.zeros(2, 1, 16, 16), ValueError, r"must be \(B, 3, H, W\)"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), TypeError, "floating point.*torch.uint8"),
        ([[1.0]], TypeError, "torch tensor or a numpy array, got list"),
    ],
)
def test_wrong_images_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        network().encode(wrong)


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1 or None, got 0"):
        network().encode(images(), 0)


@pytest.mark.parametrize(("bits", "error"), [(0, ValueError), (-3, ValueError), ("12", TypeError)])
def test_impossible_code_lengths_are_refused(bits, error):
    for make in (SmallHashNet, DSHNet):
        with pytest.raises(error, match="code_length must be"):
            make(bits)


def test_every_parameter_decays_unless_a_network_says_otherwise():
    model = network()
    (group,) = HashModel.parameter_groups(model, 1e-4)
    assert group["weight_decay"] == 1e-4 and group["lr_scale"] == 1.0
    assert len(group["params"]) == len(list(model.parameters()))
