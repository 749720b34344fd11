"""HOG-512: what the numbers are, sizes that do not fit, scikit-image that is missing."""

import sys

import pytest
import torch

from semicon_fast.data import ImageSet, hog, hog_features
from semicon_fast.data.image_set import Memory


def images(*pixels):
    names = [f"image {i}" for i in range(len(pixels))]
    return ImageSet("x", Memory(list(pixels), names, None), torch.zeros(len(pixels)).long(), "a")


def stripes(period, axis):
    """Horizontal (axis 1) or vertical (axis 2) stripes of the full contrast, uint8 (3, 32, 32)."""
    line = 255 * (torch.arange(32) // (period // 2) % 2)
    shape = [1, 1, 1]
    shape[axis] = 32
    return line.view(shape).expand(3, 32, 32).to(torch.uint8)


def test_an_image_has_512_numbers_of_norm_1():
    noise = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(0))
    found = hog_features(images(noise.to(torch.uint8), stripes(8, 2)))
    assert found.shape == (2, 512) and found.dtype == torch.float32 and hog.SIZE == 512
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert found.min() >= 0 and hog.NAME == "HOG-512 (stands in for GIST)"


def test_edges_of_one_direction_are_in_one_of_the_8_orientations_of_a_cell():
    found = hog_features(images(stripes(8, 1), stripes(8, 2))).view(2, 8, 8, 8)
    strong = found.sum((1, 2)) > 0
    assert strong.sum(1).tolist() == [1, 1] and not torch.equal(strong[0], strong[1])
    # A quarter turn is half of the orientations.
    first, second = strong.int().argmax(1).tolist()
    assert abs(first - second) == 4


def test_a_mirrored_image_has_mirrored_cells_and_orientations():
    noise = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(1))
    noise = noise.to(torch.uint8)
    own, mirrored = hog_features(images(noise, noise.flip(2))).view(2, 8, 8, 8)
    # But for gradients that lie on the border of two orientations.
    assert (own.flip(1, 2) - mirrored).abs().mean() < 0.1 * own.mean()
    assert (own - mirrored).abs().mean() > 0.3 * own.mean()


def test_an_image_of_one_colour_has_no_gradients_and_no_images_have_no_features():
    flat = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    assert not hog_features(images(flat)).any()
    assert hog_features(images()).shape == (0, 512)


def test_progress_is_by_image():
    done = []
    hog_features(images(*[stripes(4, 1)] * 3), progress=lambda n, of: done.append((n, of)))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_other_sizes_are_refused():
    small = torch.zeros(3, 32, 24, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"32 x 32 pixels, got \(32, 24\) of image 1"):
        hog_features(images(stripes(8, 1), small))


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ValueError, match=r"pip install 'semicon_fast\[hog\]'"):
        hog_features(images(stripes(8, 1)))
