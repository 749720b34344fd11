"""State dicts as other programs store them: nested in a checkpoint, their names under a prefix."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..files import utf8_path

# Entries of a checkpoint that hold the state dict, in the order in which they are looked for: that
# of the network itself before its moving average.
NESTED = (
    *("state_dict", "model_state_dict", "model", "network", "net", "module", "weights"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "ema"),
)
# How deep: {"model": {"module": {...}}} is two.
_DEPTH = 3
_COUNTER = "num_batches_tracked"


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .safetensors or torch file, read without unpickling objects.

    A torch file may also hold it nested, under one of `NESTED`, beside anything else.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another type of file, a damaged one, one with objects that would have to be
            unpickled, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        with utf8_path(path) as name:
            if path.suffix == ".safetensors":
                return dict(load_file(name))
            content = torch.load(name, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Reading a damaged file can raise almost any exception.
        raise ValueError(
            f"{path} is not a file of tensors: it is damaged, has another format, or has objects "
            "that would have to be unpickled, which is not allowed; torch.save the state dict alone"
        ) from error
    return _nested(content, path)


def _nested(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            break
        if all(isinstance(value, Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        inner = [content[key] for key in NESTED if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    what = "it holds one " + type(content).__name__
    if isinstance(content, Mapping):
        what = f"it has {len(content)} entries: {', '.join(map(str, list(content)[:4]))}"
    raise ValueError(
        f"{path} must be a state dict (names and tensors), or have one as {', '.join(NESTED)}; "
        f"{what}"
    )


def without_prefix(
    state: Mapping[str, Tensor], wanted: Iterable[str], path: object
) -> dict[str, Tensor]:
    """`state` without the prefix under which it has the names `wanted`.

    Such as "module." of DataParallel, "_orig_mod." of torch.compile, both, or "model." of
    Lightning: the one under which most of the names are found, none where that is as good. Names
    outside it stay as they are, and so does everything where no prefix is best. path: of the file,
    for the message.

    Raises ValueError if all names are found under several prefixes.
    """
    names = {name for name in wanted if not name.endswith(_COUNTER)}
    found: Counter[str] = Counter()
    for name in state:
        start = 0
        while start >= 0:
            if name[start:] in names:
                found[name[:start]] += 1
            start = name.find(".", start) + 1 or -1
    best = [prefix for prefix, count in found.items() if count == max(found.values())]
    if not best or "" in best:
        return dict(state)
    if len(best) > 1:
        if found[best[0]] < len(names):
            return dict(state)
        raise ValueError(
            f"{path} has the network {len(best)} times, under {' and '.join(map(repr, best))}; "
            "keep one of them"
        )
    return {name.removeprefix(best[0]): value for name, value in state.items()}


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], *, strict: bool) -> str:
    """What is wrong with the tensors `found` for a module with the state dict `expected`.

    "" if nothing is. The first four differences are named, all are counted. strict: whether names
    that are not expected are wrong.
    """
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected] if strict else []
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    problems = [f"no {n}" for n in missing] + [f"unexpected {n}" for n in extra] + shapes
    if not problems:
        return ""
    text = "; ".join(problems[:4])
    if len(problems) > 4:
        kinds = ((missing, "missing"), (extra, "unexpected"), (shapes, "of another shape"))
        counts = ", ".join(f"{len(names)} {kind}" for names, kind in kinds if names)
        text += f" and {len(problems) - 4} more ({counts})"
    if not any(name in found for name in expected if not name.endswith(_COUNTER)):
        some = ", ".join([name for name in found if not name.endswith(_COUNTER)][:3]) or "nothing"
        text += f"; none of these names is there, plain or under one prefix, only {some} ..."
    return text
