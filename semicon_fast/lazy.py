"""Packages whose names are imported when they are first used.

A package's `__init__.pyi` lists its public names and the modules that define them, for type
checkers and for `attach` (SPEC 1 of the Scientific Python project). So a module that needs no torch
can be imported without it, although its package has others that do.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` (PEP 562) and `__all__` of a package with __name__ and __file__."""
    homes = _homes(Path(file).with_suffix(".pyi"))

    def __getattr__(name: str) -> Any:
        module = homes.get(name)
        if module is not None:
            value = getattr(import_module(module, package), name)
            # The next use finds it without a call of this function.
            setattr(sys.modules[package], name, value)
            return value
        # A module of the package, whether the stub lists it or not.
        if not name.startswith("__") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__, sorted(homes)


def _homes(stub: Path) -> dict[str, str | None]:
    """Name -> module that defines it, relative to the package; None for a module itself."""
    return {
        alias.name: "." * node.level + node.module if node.module else None
        for node in ast.parse(stub.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
