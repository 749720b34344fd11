"""Packages that import their names at first use: all of them are there, and nothing else is."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import semicon_fast

ROOT = Path(semicon_fast.__file__).parent
PACKAGES = [
    ".".join(["semicon_fast", *stub.relative_to(ROOT).parts[:-1]])
    for stub in sorted(ROOT.rglob("__init__.pyi"))
]


def test_the_packages_are_found():
    assert {"semicon_fast", "semicon_fast.models", "semicon_fast.training"} <= set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there(name):
    package = importlib.import_module(name)
    assert package.__all__ == sorted(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is getattr(package, public)
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("name", PACKAGES)
def test_another_name_is_an_attribute_error(name):
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match="attribute.* nothing"):
        getattr(package, "nothing")  # noqa: B009  as an attribute, without a default
    with pytest.raises(ImportError):
        exec(f"from {name} import nothing")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_module_is_an_attribute(name):
    folder = ROOT.joinpath(*name.split(".")[1:])
    modules = {file.stem for file in folder.glob("[!_]*.py")}
    packages = {file.parent.name for file in folder.glob("[!_]*/__init__.py")}
    assert modules | packages <= set(importlib.import_module(name).__all__)


def test_modules_are_attributes_without_being_imported():
    code = "import semicon_fast as sf; print(sf.training.presets.names()[0], sf.models.weights)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("cub-12 <module"), done.stderr
