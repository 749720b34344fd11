"""The library for CUDA devices: csrc/cuda/, compiled by nvcc at first use."""

from pathlib import Path
from typing import Any

import torch

from . import toolchain
from .build import FLAGS, Library, csrc, files_of

OLDEST = 80  # compute capability 8.0, required for single-bit tensor core products
USUAL = (80, 90)  # built for if no device is visible


def devices() -> list[int]:
    """Compute capabilities of the visible devices, 90 for 9.0; ascending, each once."""
    if not torch.cuda.is_available():
        return []
    found = (torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count()))
    return sorted({10 * major + minor for major, minor in found})


def targets(wanted: list[int], known: list[int]) -> list[str]:
    """Flags of nvcc: machine code for each wanted capability, and PTX for newer devices.

    wanted: compute capabilities of the devices, empty for the usual ones. known: those that this
    nvcc supports.
    """
    usable = [c for c in wanted or USUAL if c >= OLDEST and c in known]
    newest = max(usable or [c for c in known if c <= max(wanted or USUAL)])
    code = [f"-gencode=arch=compute_{c},code=sm_{c}" for c in usable]
    return [*code, f"-gencode=arch=compute_{newest},code=compute_{newest}"]


class CudaLibrary(Library):
    """The CUDA library, built for the visible devices, or the usual ones if there are none."""

    name = "semicon_fast_cuda"
    kernels = "CUDA kernels"
    serves = "CUDA"
    prebuilt = "_native_cuda.json"
    first_use = "search on a CUDA device"

    def sources(self) -> list[Path]:
        return files_of(["cuda"], ".cu", ".cpp")

    def headers(self) -> list[Path]:
        return files_of(["cuda", "hamming"], ".h", ".cuh")

    def flags(self) -> list[str]:
        return [flag for flag in FLAGS if flag != "-pthread"]

    def folder(self) -> Path:
        own = super().folder()
        return own.with_name("-".join([own.name, *(f"sm{c}" for c in devices() or USUAL)]))

    def problem(self) -> tuple[str, str] | None:
        if torch.version.cuda is None:
            return (
                f"torch {torch.__version__} is not built with CUDA",
                "Install a torch that is (pytorch.org/get-started)",
            )
        old = devices()
        if old and max(old) < OLDEST:
            return (
                f"the newest device here has compute capability {max(old) / 10}, and 8.0 is needed",
                "Search on the CPU, or set SEMICON_FAST_BACKEND=reference",
            )
        return super().problem() or self._nvcc_problem()

    def _nvcc_problem(self) -> tuple[str, str] | None:
        wanted = torch.version.cuda
        cure = f"Install the CUDA toolkit {wanted}, or name its folder in CUDA_HOME"
        command = toolchain.nvcc()
        if command is None:
            return "there is no nvcc (neither CUDA_HOME nor PATH leads to one)", cure
        release = toolchain.nvcc_release(command)
        if release is None:
            return f"{command!r} is not a working nvcc ('{command} --version' fails)", cure
        # Minor releases are compatible; torch itself rejects another major one.
        if release.partition(".")[0] != str(wanted).partition(".")[0]:
            return f"{command!r} is release {release}, and torch was built with {wanted}", cure
        return None

    def device_flags(self, wanted: list[int]) -> list[str]:
        """Flags of nvcc for these compute capabilities; empty for the usual ones."""
        known = toolchain.nvcc_architectures(toolchain.nvcc() or "nvcc")
        hidden = [word for flag in self.flags() for word in ("-Xcompiler", flag) if flag[1] == "f"]
        return ["-O3", *hidden, *targets(wanted, known or list(USUAL))]

    def options(self) -> dict[str, Any]:
        include, libraries = toolchain.nvcc_folders(toolchain.nvcc() or "nvcc")
        return {
            "extra_cflags": self.flags(),
            "extra_cuda_cflags": self.device_flags(devices()),
            "extra_include_paths": [str(csrc()), str(include)],
            "extra_ldflags": [f"-L{libraries}"],
            "with_cuda": True,
        }


CUDA = CudaLibrary()
