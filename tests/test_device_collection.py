"""A machine with a GPU has torch and pytest; what else other tests need, it may lack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What pyproject.toml adds, without the options of pytest-xdist.
IMPORT = "addopts=--import-mode=importlib"
# Extras, and dependencies that no search and no kernel imports.
FEW = ["pydantic", "pydantic_core", "faiss", "selenium", "schemathesis", "fastapi", "tensorboard"]
MANY = [*FEW, "hypothesis", "xdist", "execnet", "pytest_timeout", "typer", "rich", "matplotlib"]
HIDING = """
import sys
from importlib.machinery import PathFinder
import pytest

find, hidden = PathFinder.find_spec, set(sys.argv.pop(1).split(","))

def find_spec(name, *rest):
    return None if name.split(".")[0] in hidden else find(name, *rest)

PathFinder.find_spec = find_spec
sys.exit(pytest.main(sys.argv[1:]))
"""


def collected(hidden, *arguments):
    """Files of the tests for a device that are found where packages are missing."""
    options = ["-q", "--collect-only", "-o", IMPORT, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-c", HIDING, ",".join(hidden), *options, "--strict-markers", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return {line.partition("::")[0] for line in done.stdout.splitlines() if line[:6] == "tests/"}


def with_device_tests(*, but=()):
    """Files that mark tests as of a device, found without pytest."""
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    own = Path(__file__).resolve().relative_to(ROOT)
    marked = {f for f in files - {own} if "pytest.mark.gpu" in (ROOT / f).read_text("utf-8")}
    return {str(f) for f in marked if not any(str(f).startswith(name) for name in but)}


def test_without_pydantic_every_test_of_a_device_is_found_but_those_of_training():
    found = collected(FEW, "-m", "gpu")
    assert found == with_device_tests(but=["tests/training"]) and len(found) >= 9


@pytest.mark.slow
def test_with_torch_numpy_and_pytest_alone_only_generated_searches_are_missing_too():
    found = collected(MANY, "-m", "gpu")
    assert found == with_device_tests(but=["tests/training", "tests/native/test_search_cuda.py"])
