"""Class means of a published network's features, as a source of SHC's similarities."""

import pytest
import torch
import torchvision

from semicon_fast import centers
from semicon_fast.training import class_features, save_class_features


def test_they_are_means_of_what_goes_into_the_last_layer(tiny, tmp_path):
    model = torchvision.models.get_model("resnet18", weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "r.pth")
    images = tiny.data().train
    found = class_features(images, "resnet18", weights=tmp_path / "r.pth", size=32, batch_size=7)
    assert tuple(found.shape) == (3, 512)
    model.fc = torch.nn.Identity()
    from semicon_fast.data import build

    with torch.inference_mode():
        features = model(build("imagenet", 32, False)(images.images(torch.arange(len(images)))))
    expected = torch.stack([features[images.labels == c].mean(0) for c in range(3)])
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    save_class_features(found, tmp_path / "f.safetensors")
    similarity = centers.load_similarity(tmp_path / "f.safetensors", 3, 16)
    assert torch.equal(similarity, centers.class_similarity(found, 16))


def test_wrong_names_are_refused(tiny):
    images = tiny.data().train
    with pytest.raises(ValueError, match="network must be one of alexnet.*got 'lenet'"):
        class_features(images, "lenet")
    with pytest.raises(ValueError, match="weights of resnet18 must be.*IMAGENET1K_V1.*got 'V9'"):
        class_features(images, "resnet18", weights="V9")
    with pytest.raises(ValueError, match="must have one label each"):
        class_features(tiny.data(multi_label=True).train)
    with pytest.raises(ValueError, match="class 0 has none"):
        class_features(images.subset(torch.arange(10, 30)))
