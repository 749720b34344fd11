"""Shared by all benchmarks: records device, versions and command with the results in CSV files, and
goes through cases within a time, past errors."""

import csv
import io
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from semicon_fast.files import atomic_write
from semicon_fast.models.execution import device_name
from semicon_fast.text import markdown_table as markdown_table

RESULTS = Path(__file__).resolve().parent / "results"
README = Path(__file__).resolve().parent.parent / "README.md"


def environment(device: str = "cpu") -> dict[str, str]:
    """The columns device, torch and semicon_fast: where a row was measured, with which versions."""
    try:
        own = version("semicon_fast")
    except PackageNotFoundError:
        own = "not installed"
    return {"device": device_name(device), "torch": torch.__version__, "semicon_fast": own}


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


class Cases:
    """Goes through a benchmark's cases: none begins when the time is over, an error costs only its
    own case, and the rows of a case are written as soon as it is done.

    Args:
        csv: the file that rows are merged into, None for none.
        key: the columns that identify a row, as in `merge_rows`.
        seconds: from now on; no case begins afterwards.
    """

    def __init__(self, csv: Path | None, key: Sequence[str], seconds: float) -> None:
        self._csv, self._key, self._end = csv, key, time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = []
        self.left: list[str] = []
        self.failed: list[str] = []

    def measure(
        self, name: str, work: Callable[[], list[dict[str, Any]]]
    ) -> list[dict[str, Any]] | None:
        """The rows of a case; None if there was no time for it, or an error, which is printed."""
        if time.monotonic() >= self._end:
            self.left.append(name)
            return None
        try:
            rows = work()
        except Exception:  # whatever it is, the other cases are still worth measuring
            traceback.print_exc()
            self.fail(name)
            return None
        if self._csv and rows:
            merge_rows(self._csv, rows, self._key)
        self.rows += rows
        return rows

    def fail(self, name: str) -> None:
        print(f"failed: {name}", flush=True)
        self.failed.append(name)

    def end(self) -> None:
        """Says what was left out. Raises SystemExit, with the names, if a case failed."""
        if self.left:
            print(f"\nno time left for: {'; '.join(self.left)}", flush=True)
        if self.failed:
            raise SystemExit(f"failed: {'; '.join(self.failed)}")


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
