"""Builds the CUDA kernels for the host, over the emulator."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CUDA = ROOT / "csrc" / "cuda"
TESTS = ROOT / "tests" / "csrc"
EMULATOR = TESTS / "emulator"
FLAGS = ["-std=c++17", "-O1", "-g1", "-w", "-fsanitize=address"]
INCLUDE = ["-DSEMICON_FAST_EMULATE", f"-I{EMULATOR}", f"-I{CUDA}", f"-I{TESTS}"]
MACHINE = [EMULATOR / name for name in ("fiber.cpp", "machine.cpp", "collectives.cpp")]


class Emulated:
    """Compiles with AddressSanitizer; what is compiled once is kept for the session."""

    cuda, tests, emulator = CUDA, TESTS, EMULATOR

    def __init__(self, compiler, folder):
        self.compiler, self.folder, self.objects = compiler, folder, {}

    def compile(self, source, name=None):
        """source -> an object file; `name`: another place for it than its own."""
        if source not in self.objects:
            made = self.folder / f"{name or source.name}.o"
            self.run(*INCLUDE, "-x", "c++", "-c", source, "-o", made)
            self.objects[source] = made
        return self.objects[source]

    def build(self, name, sources):
        """The emulator and `sources` -> a program."""
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(self.compile, [*MACHINE, *sources]))
        program = self.folder / name
        self.run(*objects, "-o", program)
        return program

    def run(self, *arguments):
        command = [self.compiler, *FLAGS, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp("emulated")
    empty = folder / "empty.cpp"
    empty.write_text("int main() {}\n")
    tried = subprocess.run([compiler, "-fsanitize=address", empty, "-o", folder / "empty"])
    if tried.returncode:
        pytest.skip("this g++ has no AddressSanitizer")
    return Emulated(compiler, folder)
