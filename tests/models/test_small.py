"""The small BatchNorm network."""

import pytest
import torch

from semicon_fast.models import SmallHashNet


@pytest.mark.parametrize("size", [32, 33, 48, 64])
def test_any_image_size_gives_linear_codes_of_pooled_features(size):
    model = SmallHashNet(24, width=8).eval()
    out = model(torch.randn(2, 3, size, size, generator=torch.Generator()))
    assert out.codes.shape == (2, 24) and out.features.shape == (2, 32)
    torch.testing.assert_close(out.codes, model.hash(out.features))


def test_two_strides_leave_eight_cells_of_thirty_two_pixels():
    model = SmallHashNet(24)
    assert model.features(torch.zeros(2, 3, 32, 32)).shape == (2, 128, 8, 8)
    widths = [block[0].weight.shape[:2] for block in model.features]
    assert widths == [(32, 3), (64, 32), (64, 64), (128, 64), (128, 128)]


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        SmallHashNet(12, width=0)
