"""`semicon-fast info`: show versions, devices, presets, and what implements each operator."""

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .common import console, print_json, table
from .options import AsJson

PACKAGES = ("torch", "torchvision", "triton", "numpy", "safetensors", "faiss-cpu", "faiss-gpu")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def facts() -> dict[str, Any]:
    """What a bug report should state, as values that JSON can hold."""
    import torch

    from .. import __version__, data, methods, models, native, ops
    from ..training import presets

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "semicon_fast": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu threads": torch.get_num_threads(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "cuda devices": devices,
        "hamming search on the cpu": native.status(),
        "hamming search on cuda": native.cuda_status(),
        "operators": ops.backends(),
        "networks": sorted(models.NETWORKS),
        "methods": sorted(methods.METHODS),
        "data sets": sorted(data.DATASETS),
        "presets": presets.names(),
    }


def info(as_json: AsJson = False) -> None:
    found = facts()
    if as_json:
        print_json(found)
        return
    out = console(False)
    operators = found.pop("operators")
    packages = found.pop("packages")
    kernels = {where: found.pop(f"hamming search on {where}") for where in ("the cpu", "cuda")}
    found["presets"] = _by_length(found["presets"])
    rows = list(_lines(found).items())
    rows[3:3] = list(packages.items())
    out.print(table("semicon_fast", ("property", "value"), rows))
    out.print()
    for where, served in kernels.items():
        title = f"Hamming search on {where.replace('cpu', 'CPU').replace('cuda', 'CUDA')}"
        out.print(table(title, ("property", "value"), list(_lines(served).items())))
        out.print()
    out.print(
        table(
            "operators",
            ("operator", "cpu", "cuda"),
            [(name, where["cpu"], where["cuda"]) for name, where in operators.items()],
        )
    )


def _by_length(presets: list[str]) -> list[str]:
    """Presets that differ in code length only as one name: cub-{12,24,...}."""
    lengths: dict[str, list[str]] = {}
    for name in presets:
        number = (re.findall(r"-(\d+)", name) or [""])[-1]
        key = name.replace(f"-{number}", "-{}") if number else name
        lengths.setdefault(key, []).append(number)
    return [
        key.replace("{}", f"{{{','.join(found)}}}" if len(found) > 1 else found[0])
        for key, found in lengths.items()
    ]


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    """Each value as text: lists joined by commas, "none" for nothing."""
    texts = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in facts.items()}
    return {k: "none" if v in ("", None) else str(v) for k, v in texts.items()}
