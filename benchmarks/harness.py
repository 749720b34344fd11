"""Shared by all benchmarks: records device, versions and command with the results in CSV files."""

import csv
import io
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from semicon_fast.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
README = Path(__file__).resolve().parent.parent / "README.md"


def cpu_name() -> str:
    """Model of the CPU, and the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {cores} cores"


def environment(device: str = "cpu") -> dict[str, str]:
    """The columns device, torch and semicon_fast: where a row was measured, with which versions."""
    named = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()
    try:
        own = version("semicon_fast")
    except PackageNotFoundError:
        own = "not installed"
    return {"device": named, "torch": torch.__version__, "semicon_fast": own}


def command() -> str:
    """This process's command line, as typed in the root of the repository."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def merge_rows(path: Path, rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> None:
    """Adds rows to a CSV file; a row with the same `key` columns replaces the old one."""
    if not rows:
        raise ValueError(f"nothing to write to {path}")
    columns = list(rows[0])
    texts = [{c: _text(row[c]) for c in columns} for row in rows]
    new = {tuple(row[c] for c in key) for row in texts}
    kept = [r for r in read_rows(path) if tuple(r.get(c, "") for c in key) not in new]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(sorted([*kept, *texts], key=lambda row: [row.get(c, "") for c in key]))
    with atomic_write(path, "w") as file:
        file.write(buffer.getvalue())


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
