"""Installs without importing torch: native code is built at first use, not here.

SEMICON_FAST_AOT=1 pip install --no-build-isolation . builds it now, for the torch that is there.
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
    """What setup() needs to build csrc/ as the first search would, and to keep its key."""
    if os.environ.get("SEMICON_FAST_AOT") != "1":
        return {}
    sys.path.insert(0, str(here))
    from torch.utils.cpp_extension import BuildExtension, CppExtension

    from semicon_fast.native import building

    name = "semicon_fast._native"

    class Build(BuildExtension):  # type: ignore[misc]
        def run(self) -> None:
            super().run()
            library = Path(self.get_ext_fullpath(name))
            about = {"key": building.cache_folder().name, "library": library.name}
            library.with_name(building.PREBUILT).write_text(json.dumps(about), "utf-8")

    sources = [str(path.relative_to(here)) for path in building.sources()]
    extension = CppExtension(name, sources, extra_compile_args=list(building.FLAGS))
    return {"ext_modules": [extension], "cmdclass": {"build_ext": Build}}


setup(
    version=version.group(1) if version else "0",
    packages=[
        *find_packages(include=["semicon_fast", "semicon_fast.*"]),
        "semicon_fast.kernels",
        "semicon_fast.csrc",
    ],
    package_dir={"semicon_fast.kernels": "kernels", "semicon_fast.csrc": "csrc"},
    package_data={
        "semicon_fast": ["py.typed"],
        "semicon_fast.csrc": ["*.cpp", "*.h", "*.md", "cuda/*"],
    },
    **ahead_of_time(),
)
