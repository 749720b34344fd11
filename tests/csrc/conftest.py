"""Builds the CUDA kernels for the host, over the emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CUDA = ROOT / "csrc" / "cuda"
TESTS = ROOT / "tests" / "csrc"
EMULATOR = TESTS / "emulator"
FLAGS = ["-std=c++17", "-O1", "-g1", "-w"]
INCLUDE = ["-DSEMICON_FAST_EMULATE", f"-I{EMULATOR}", f"-I{CUDA}", f"-I{ROOT / 'csrc'}"]
# The emulator itself needs no watching, and is in the innermost loop.
MACHINE = {
    EMULATOR / name: ["-O2", "-DEMULATOR_ADDRESSES"]
    for name in ("fiber.cpp", "machine.cpp", "collectives.cpp")
}


class Emulated:
    """Compiles with AddressSanitizer; what is compiled once is kept for the session."""

    cuda, tests, emulator = CUDA, TESTS, EMULATOR
    kernels = sorted(CUDA.glob("*.cu"))

    def __init__(self, compiler, folder):
        self.compiler, self.folder, self.objects = compiler, folder, {}

    def compile(self, source):
        """source -> an object file."""
        if source not in self.objects:
            made = self.folder / f"{len(self.objects)}-{source.name}.o"
            watched = MACHINE.get(source, ["-fsanitize=address"])
            self.run(*watched, *INCLUDE, "-x", "c++", "-c", source, "-o", made)
            self.objects[source] = made
        return self.objects[source]

    def build(self, name, sources):
        """The emulator and `sources` -> a program."""
        objects = [self.compile(source) for source in [*MACHINE, *sources]]
        program = self.folder / name
        self.run("-fsanitize=address", *objects, "-o", program)
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
