"""Feature vectors as they are kept beside an index: float32, float16 or int8, and their file.

The file is safetensors with the tensors "features" and, for int8, "scale"; its metadata name the
format, the metric, and the checksum of the index that the features belong to.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..arrays import as_features, check_choice, check_finite
from ..files import atomic_write, utf8_path

STORED = ("float32", "float16", "int8")
FORMAT = "semicon_fast two-stage features"
VERSION = "1"
# What safetensors calls these dtypes.
_KINDS = {"float32": "F32", "float16": "F16", "int8": "I8"}
# Values that are converted at a time.
_VALUES = 1 << 22


@dataclass(frozen=True)
class FeatureRows:
    """Rows (N, F). Of int8, row i is features[i] * scale[i], and its largest magnitude is 127.

    features: float32, float16 or int8 (N, F), perhaps memory-mapped; not written to. scale: float32
    (N,) for int8, else None.
    """

    features: Tensor
    scale: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def width(self) -> int:
        """F."""
        return self.features.shape[1]

    @property
    def stored(self) -> str:
        """One of `STORED`."""
        return str(self.features.dtype).removeprefix("torch.")

    def take(self, rows: Tensor, out: Tensor) -> None:
        """Copies the rows at `rows`, int64 (n,), to `out`, float32 (n, F)."""
        if not len(self):
            out.zero_()
        elif self.features.dtype == torch.float32:
            torch.index_select(self.features, 0, rows, out=out)
        else:
            out.copy_(self.features[rows])
        if self.scale is not None and len(self):
            out.mul_(self.scale[rows].unsqueeze(1))


def stored(values: object, kind: str, name: str) -> FeatureRows:
    """Features (N, F), kept as `kind`.

    float32 features are kept as they are, so that those of a memory-mapped file stay in the file.
    Raises TypeError or ValueError, naming `name`, unless they are floating, (N, F), finite, and
    within the range of `kind`.
    """
    check_choice(kind, STORED, "stored")
    given = check_finite(as_features(values, name), name)
    if given.shape[1] < 1:
        raise ValueError(f"{name} must have at least one value a row, got {tuple(given.shape)}")
    if kind == "int8":
        kept = torch.empty(given.shape, dtype=torch.int8)
        scale = torch.empty(len(given))
    else:
        dtype = torch.float32 if kind == "float32" else torch.float16
        if given.dtype == dtype and given.is_cpu:
            return FeatureRows(given.contiguous())
        kept, scale = torch.empty(given.shape, dtype=dtype), None
    step = max(1, _VALUES // given.shape[1])
    for start in range(0, len(given), step):
        block = given[start : start + step].cpu()
        if scale is not None:
            block = block.float()
            largest = block.abs().amax(1) / 127
            scale[start : start + step] = largest
            block = (block / largest.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
            block = block.clamp(-127, 127)
        kept[start : start + step] = block
    if kind != "int8":
        check_finite(kept, f"{name} as {kind}")
    return FeatureRows(kept, scale)


def write(path: Path, rows: FeatureRows, metric: str, index: str) -> None:
    """Writes the file. index: checksum of the index. Raises OSError."""
    arrays = {"features": rows.features.contiguous().numpy()}
    if rows.scale is not None:
        arrays["scale"] = rows.scale.numpy()
    about = {"format": FORMAT, "version": VERSION, "metric": metric, "index": index}
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        kind = _KINDS[str(array.dtype)]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Not by safetensors' own functions: as bytes, features larger than memory cannot be written,
    # and by name they are renamed to it.
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def read(path: Path) -> tuple[FeatureRows, dict[str, str]]:
    """The rows, memory-mapped, and the metadata.

    Raises ValueError if the file is none of `write` or is damaged, OSError if it cannot be opened.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with utf8_path(path) as name, safe_open(name, "pt") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise ValueError(f"{path} holds no features of a two-stage index")
            if about.get("version") != VERSION:
                raise ValueError(
                    f"{path} has format version {about.get('version')}; this release reads "
                    f"{VERSION}, a newer one is needed"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} holds no features of a two-stage index: {error}") from None
    rows = FeatureRows(tensors["features"], tensors.get("scale"))
    scaled = rows.scale is not None and rows.scale.shape == (len(rows),)
    if rows.features.ndim != 2 or rows.stored not in STORED or (rows.stored == "int8") != scaled:
        raise ValueError(f"{path} has features that this release does not understand")
    return rows, about
