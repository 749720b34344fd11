"""Installs without importing torch: native code is built at first use, not here.

SEMICON_FAST_AOT=1 pip install --no-build-isolation . builds the CPU's now, for the torch that is
there; SEMICON_FAST_AOT=cuda that for CUDA devices too (compute capability 8.0, 9.0 and newer).
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
version = re.search(
    r'^__version__ = "(.+)"$', (here / "semicon_fast" / "__init__.py").read_text("utf-8"), re.M
)


def ahead_of_time() -> dict[str, Any]:
    """What setup() needs to build csrc/ as the first search would, and to keep its keys."""
    wanted = os.environ.get("SEMICON_FAST_AOT", "")
    if wanted in ("", "0"):
        return {}
    if wanted not in ("1", "cuda"):
        raise SystemExit(f"SEMICON_FAST_AOT must be 0, 1 or cuda, got {wanted!r}")
    sys.path.insert(0, str(here))
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

        from semicon_fast.native import toolchain
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"SEMICON_FAST_AOT builds with what is installed here, and {error.name} is not: "
            "pip install torch numpy lazy-loader filelock first"
        ) from None
    from semicon_fast.native.build import CPU, Library
    from semicon_fast.native.cuda import CUDA

    libraries = {"semicon_fast._native": CPU}
    if wanted == "cuda":
        if (problem := CUDA.problem()) is not None:
            raise SystemExit(f"SEMICON_FAST_AOT=cuda is not possible: {problem[0]}. {problem[1]}.")
        libraries["semicon_fast._native_cuda"] = CUDA

    class Build(BuildExtension):  # type: ignore[misc]
        def run(self) -> None:
            super().run()
            for name, library in libraries.items():
                built = Path(self.get_ext_fullpath(name))
                about = {"key": Library.key(library), "library": built.name}
                built.with_name(library.prebuilt).write_text(json.dumps(about), "utf-8")

    extensions = []
    for name, library in libraries.items():
        kind, flags = CppExtension, {"cxx": library.flags()}
        folders: dict[str, list[str]] = {"include_dirs": [str(here / "csrc")]}
        if library is CUDA:
            kind, flags["nvcc"] = CUDAExtension, CUDA.device_flags([])
            include, lib = toolchain.nvcc_folders(str(toolchain.nvcc()))
            folders["include_dirs"].append(str(include))
            folders["library_dirs"] = [str(lib)]
        sources = [str(path.relative_to(here)) for path in library.sources()]
        extensions.append(kind(name, sources, extra_compile_args=flags, **folders))
    return {"ext_modules": extensions, "cmdclass": {"build_ext": Build}}


setup(
    version=version.group(1) if version else "0",
    packages=[
        *find_packages(include=["semicon_fast", "semicon_fast.*"]),
        "semicon_fast.kernels",
        "semicon_fast.csrc",
    ],
    package_dir={"semicon_fast.kernels": "kernels", "semicon_fast.csrc": "csrc"},
    package_data={
        "": ["*.pyi"],
        "semicon_fast": ["py.typed"],
        "semicon_fast.report": ["page.html", "page.css"],
        "semicon_fast.serve": ["static/*"],
        "semicon_fast.csrc": ["README.md", "*.cpp", "*/*", "hamming/isa/*"],
    },
    **ahead_of_time(),
)
