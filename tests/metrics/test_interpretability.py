"""Maps against known parts and bits against known values, in cases whose answer is known."""

import math

import numpy as np
import pytest
import torch

from semicon_fast import metrics


def boxes(*corners, size=8):
    """bool (1, P, size, size): squares of side 4 at these corners."""
    masks = torch.zeros(1, len(corners), size, size, dtype=torch.bool)
    for part, (row, column) in enumerate(corners):
        masks[0, part, row : row + 4, column : column + 4] = True
    return masks


def test_a_map_on_a_part_overlaps_with_it_alone():
    masks = boxes((0, 0), (4, 4))
    found = metrics.map_overlap(masks.double(), masks)
    assert found["share"].tolist() == [[1, 0], [0, 1]]
    assert found["area"].tolist() == [[0.25, 0.25]] * 2
    assert found["iou"].tolist() == [[1, 0], [0, 1]]


def test_a_flat_map_has_the_share_of_the_area():
    found = metrics.map_overlap(torch.ones(1, 1, 2, 2), boxes((0, 0)))
    assert found["share"].item() == found["area"].item() == found["iou"].item() == 0.25


def test_overlap_against_loops():
    draws = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 3, 8, 8, generator=draws)
    masks = torch.rand(5, 2, 8, 8, generator=draws) < 0.3
    maps[0, 1] = 0
    masks[1, 0] = False
    found = metrics.map_overlap(maps, masks)
    for m in range(3):
        for p in range(2):
            images = [b for b in range(5) if maps[b, m].sum() > 0 and masks[b, p].any()]
            share = [(maps[b, m][masks[b, p]].sum() / maps[b, m].sum()).item() for b in images]
            assert found["share"][m, p].item() == pytest.approx(np.mean(share))
            best = 0.0
            for t in range(1, 20):
                cuts = [(maps[b, m] >= t / 20 * maps[b, m].max(), masks[b, p]) for b in images]
                best = max(best, np.mean([((c & k).sum() / (c | k).sum()).item() for c, k in cuts]))
            assert found["iou"][m, p].item() == pytest.approx(best)


def test_likeness_is_one_for_equal_and_zero_for_disjoint_maps():
    masks = boxes((0, 0), (4, 4)).double()
    maps = torch.cat([masks, masks[:, :1] * 3], dim=1)
    for values in metrics.map_likeness(maps).values():
        assert torch.allclose(values, torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]).double())
    nothing = metrics.map_likeness(torch.zeros(2, 2, 4, 4))["cosine"]
    assert nothing.isnan().all()


def test_information_of_what_is_copied_negated_and_unrelated():
    draws = np.random.default_rng(0)
    value = draws.integers(0, 2, 4000)
    noise = draws.integers(0, 2, (4000, 3))
    copied = np.concatenate([noise, value[:, None]], axis=1)
    assert metrics.bit_information(copied, value) == pytest.approx(1, abs=0.01)
    assert metrics.bit_information(1 - 2 * copied, value) == pytest.approx(1, abs=0.01)
    assert metrics.bit_information(noise, value) == pytest.approx(0, abs=0.002)
    flipped = copied[:, 3] ^ (draws.random(4000) < 0.11)
    channel = 1 + 0.11 * math.log2(0.11) + 0.89 * math.log2(0.89)
    found = metrics.bit_information(flipped[:, None], value)
    assert found == pytest.approx(channel, abs=0.03)


def test_few_images_alone_tell_nothing():
    """Without the shuffled baseline unique codes would seem to know everything."""
    draws = np.random.default_rng(1)
    bits, value = draws.integers(0, 2, (40, 30)), np.arange(40) % 2
    assert metrics.bit_information(bits, value, shuffles=0) == pytest.approx(1)
    assert metrics.bit_information(bits, value) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: metrics.map_overlap(torch.ones(1, 2, 2), boxes((0, 0))), ValueError, "floating"),
        (lambda: metrics.map_overlap(-torch.ones(1, 1, 2, 2), boxes((0, 0))), ValueError, "negat"),
        (lambda: metrics.map_overlap(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)), ValueError,
         "masks must be bool"),
        (lambda: metrics.map_likeness(torch.full((1, 1, 2, 2), torch.nan)), ValueError, "NaN"),
        (lambda: metrics.bit_information(np.ones((3, 2)), np.ones(2, int)), ValueError, "bits"),
        (lambda: metrics.bit_information(np.ones((3, 2)), np.ones(3)), TypeError, "integers"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
