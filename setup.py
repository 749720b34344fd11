"""Installs without importing torch: native code is built at first use, not here."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
version = re.search(
    r'^__version__ = "(.+)"$', (here / "semicon_fast" / "__init__.py").read_text("utf-8"), re.M
)

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
        "semicon_fast.csrc": ["*.cpp", "*.cu", "*.h", "*.cuh", "*.md"],
    },
)
