"""A folder with all that people's folders of images hold, and what should be read from it."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nasty_names import NAMES, file_name
from PIL import Image

# What macOS writes beside each file on a foreign file system.
APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(60)
LONG_LABEL = "very long " * 20_000
CLASSES = tuple(map(file_name, NAMES))


@dataclass(frozen=True)
class NastyFolder:
    """root: the folder. images: path below root -> label of each image that should be read.

    linked: those of them that lie outside and are reached by a link to a folder.
    """

    root: Path
    images: dict[str, str]
    linked: frozenset[str]


def draw(path, seed):
    """An image of one colour with a stripe, in the format that the suffix of `path` names."""
    rng = np.random.default_rng(seed)
    pixels = np.full((40, 48, 3), rng.integers(0, 255, 3), np.uint8)
    pixels[10:20] = rng.integers(0, 255, 3)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    formats = {".jfif": "JPEG", ".jpe": "JPEG", ".pnm": "PPM", ".pgm": "PPM", ".pbm": "PPM"}
    image = Image.fromarray(pixels)
    image = image.convert({".pgm": "L", ".pbm": "1"}.get(path.suffix.lower(), "RGB"))
    image.save(path, formats.get(path.suffix.lower()))


def build(folder, suffixes):
    """Writes the folder below `folder`, with an image of each of `suffixes`."""
    root = folder / "photos"
    images = {}

    def put(name, label):
        draw(root / name, len(images))
        images[name] = label

    for label in CLASSES:
        for i in range(3):
            put(f"{label}/{i} {label[:40]}.png", label)
        put(f"{label}/monday/{label[:40]}/deep.png", label)
    for suffix in sorted(suffixes):
        put(f"suffixes/a{suffix}", "suffixes")
        put(f"suffixes/B{suffix.upper()}", "suffixes")
    _add_what_is_passed_over(root)
    linked = _add_links(folder, root)
    images.update(dict.fromkeys(linked, "linked"))
    # A link out of the folder to a single file is an image as any other.
    images["suffixes/link to a file.png"] = "suffixes"
    return NastyFolder(root, images, frozenset(linked))


def _add_what_is_passed_over(root):
    first = CLASSES[0]
    (root / first / "._0.png").write_bytes(APPLE_DOUBLE)
    (root / first / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / first / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / first / "notes.txt").write_text("cat.jpg 1\n")
    draw(root / ".git/objects/hidden.png", 900)
    draw(root / first / ".thumbnails/0.png", 901)
    (root / "__MACOSX" / first).mkdir(parents=True)
    (root / "__MACOSX" / first / "._1.png").write_bytes(APPLE_DOUBLE)
    (root / "empty").mkdir()


def _add_links(folder, root):
    for i in range(2):
        draw(folder / "pool" / f"{i}.png", 800 + i)
    draw(folder / "elsewhere" / "one.png", 810)
    first = root / CLASSES[0]
    (first / "latest").symlink_to(".")  # a loop
    (first / "up").symlink_to("../..")  # another, that would bring the pool in twice
    (first / "again.png").symlink_to(f"0 {CLASSES[0]}.png")
    (first / "nowhere.png").symlink_to("no such file.png")
    (root / "again").symlink_to("suffixes", target_is_directory=True)
    (root / "linked").symlink_to(folder / "pool", target_is_directory=True)
    (root / "suffixes" / "link to a file.png").symlink_to(folder / "elsewhere" / "one.png")
    return ["linked/0.png", "linked/1.png"]


def write_tar(path, root):
    """The folder as `tar -cf path -C parent name` writes it: links stay links."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, root.name)
