"""What the path of a file says: whether it is an image, whether it is hidden, what its label is.

The label is the first folder below the root, however deep the image lies. Below a root that is
split, with folders in a folder train/, it is the first folder below train/, test/ and so on. An
image that lies in no such folder has the name of the folder that holds it, or "" if there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

# Suffix of a file -> Pillow's name of its format. All are decoded from untrusted bytes too, so none
# of them may be one for which Pillow starts another program.
FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx"), "JPEG2000"),
    **{".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF", ".tga": "TGA"},
}
SHARD_SUFFIXES = (".tar", ".parquet")
# Folders of copies and previews that macOS archives and Synology disks add.
HIDDEN_FOLDERS = ("__MACOSX", "@eaDir")
VALIDATION_FOLDERS = ("validation", "val", "valid")
SPLIT_FOLDERS = ("train", "test", *VALIDATION_FOLDERS)


def is_hidden(name: str) -> bool:
    """Whether this name of a file or folder hides it: .git, .DS_Store, ._photo.jpg, __MACOSX."""
    return (name.startswith(".") and name not in (".", "..")) or name in HIDDEN_FOLDERS


def has_suffix(name: str, suffixes: Iterable[str] = FORMATS) -> bool:
    """Whether a file's name ends with one of these suffixes, whatever their case."""
    return os.path.splitext(name)[1].lower() in suffixes


class CommonRoot:
    """The longest common folder of images whose root was not given, and labels below it.

    Paths are given as the list of their folders and the file's name.
    """

    def __init__(self) -> None:
        self._folders: Sequence[str] | None = None
        # Depths at which some path has a folder train/ with a folder in it.
        self._trains: set[int] = set()

    def add(self, path: Sequence[str]) -> None:
        """Take one more image into account."""
        folders = path[:-1]
        common = folders if self._folders is None else self._folders
        pairs = enumerate(zip(common, folders, strict=False))
        end = next((i for i, (a, b) in pairs if a != b), min(len(common), len(folders)))
        self._folders = common[:end]
        self._trains.update(i for i, name in enumerate(folders[:-1]) if name == "train")

    def label(self, path: Sequence[str]) -> str:
        """Label of one of the images; "" for one that lies in no folder."""
        root = self._folders or []
        name = root[-1] if root else ""
        return label_below(path[len(root) : -1], name, len(root) in self._trains)[0]


def label_below(folders: Sequence[str], root: str, split: bool) -> tuple[str, int]:
    """The label of an image in these folders below the root of this name, and the position of the
    class folder among them, -1 if the image is in none."""
    depth = int(split and bool(folders) and folders[0] in SPLIT_FOLDERS)
    if len(folders) > depth:
        return folders[depth], depth
    return (folders[-1] if folders else root), -1
