"""The table of SHC's supplement (ACCV 2022)."""

from collections.abc import Iterator

from .study import Figure, Row, Study, Train

BITS = (16, 32, 64)
NETWORKS = {"alexnet": "AlexNet", "vgg16": "VGG16", "resnet50": "ResNet50"}
DATA = {"imagenet100": "ImageNet", "cars": "Stanford Cars", "nabirds": "NABirds"}
TOPK = {"imagenet100": 1000}
# Table 1: mAP at 16, 32 and 64 bits.
TABLE1 = {
    ("alexnet", "imagenet100"): (0.8511, 0.8761, 0.8982),
    ("alexnet", "cars"): (0.7998, 0.8483, 0.8705),
    ("alexnet", "nabirds"): (0.6489, 0.7194, 0.7533),
    ("vgg16", "imagenet100"): (0.8555, 0.8806, 0.8982),
    ("vgg16", "cars"): (0.8111, 0.8521, 0.8745),
    ("vgg16", "nabirds"): (0.6578, 0.7250, 0.7588),
    ("resnet50", "imagenet100"): (0.8616, 0.8851, 0.8982),
    ("resnet50", "cars"): (0.8218, 0.8569, 0.8771),
    ("resnet50", "nabirds"): (0.6693, 0.7381, 0.7599),
}


def _work(network: str, data: str, bits: int) -> Train:
    return Train(
        f"shc-{data}-{bits}",
        f"{network}-features",
        ("method.options.classify=0",),
        similarity=network,
        folder=data,
        topk=TOPK.get(data),
    )


def _small(network: str, bits: int) -> Train:
    settings = (f"model.code_length={bits}", "method.options.classify=0")
    return Train("shc-folder-small-48", f"{bits}-{network}-features", settings, similarity=network)


def _rows() -> Iterator[Row]:
    for (network, data), printed in TABLE1.items():
        for bits, value in zip(BITS, printed, strict=True):
            yield Row(
                f"{data}-{bits}-{network}",
                (DATA[data], str(bits), NETWORKS[network]),
                _work(network, data, bits),
                _small(network, bits) if data == "nabirds" else None,
                {"mAP": value},
            )


def studies() -> tuple[Study, ...]:
    """The studies of the supplement."""
    return (
        Study(
            name="shc-table1",
            title="Hash centers by the category features of three published networks",
            source="SHC (ACCV 2022), supplement, Table 1",
            protocol="mAP over the first 1,000 hits on ImageNet, over the whole database on "
            "Stanford Cars and NABirds; the network encodes queries and database.",
            columns=("data", "bits", "category features"),
            rows=tuple(_rows()),
            figures=(Figure("lines", x="bits", line="category features", panel="data"),),
            small="A narrow ResNet from scratch at 64 pixels, a few passes over the images of a "
            "folder, or over generated birds without --root; the weights of the three networks are "
            "downloaded. It shows that everything runs, and is not the paper's setting.",
        ),
    )
