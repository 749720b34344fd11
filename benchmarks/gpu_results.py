"""Brings home what `gpu_run.sh` left: rows to results/, README's tables, and a shorter UNPROVEN.md.

    python benchmarks/gpu_results.py FOLDER...

A line of UNPROVEN.md names the steps that prove it. It goes when each of them ended well on a
device, and in each test file of its command a test passed and none failed. With --dry copies are
changed, and the results of a dry run are taken.
"""

import argparse
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import attention
import hamming_rows
import harness
import pipeline
import tables
from harness import merge_rows, read_rows

from semicon_fast.files import atomic_write

KEYS = {
    "hamming_rank_cuda.csv": hamming_rows.KEY,
    "attention_cuda.csv": attention.KEY,
    "pipeline_cuda.csv": pipeline.KEY,
}
UNPROVEN = "UNPROVEN.md"


class Brought:
    """Steps that ended well, and the outcomes of tests by step and file, of several folders."""

    def __init__(self, folders: list[Path], dry: bool) -> None:
        self.parts = sorted(path.parent for f in folders for path in f.rglob("steps.csv"))
        if not self.parts:
            raise SystemExit(f"no steps.csv of gpu_run.sh below {', '.join(map(str, folders))}")
        self.done: set[str] = set()
        self.outcomes: dict[tuple[str, str], set[str]] = defaultdict(set)
        for part in self.parts:
            for row in read_rows(part / "steps.csv"):
                if bool(row["dry"]) != dry:
                    kind = "a dry run" if row["dry"] else "a device"
                    raise SystemExit(f"{part} is of {kind}; --dry takes dry runs and nothing else")
                if row["status"] == "0":
                    self.done.add(row["step"])
                for test in read_rows(part / f"{row['step']}.csv"):
                    if "test" in test:  # a file of outcomes
                        file = test["test"].partition("::")[0]
                        self.outcomes[row["step"], file].add(test["outcome"])

    def proves(self, command: str, steps: list[str]) -> bool:
        """Whether the steps of a line of UNPROVEN.md prove it."""
        if not steps or not self.done.issuperset(steps):
            return False
        tested = {step for step, _ in self.outcomes}
        for step in tested.intersection(steps):
            for file in re.findall(r"tests/\S+\.py", command):
                found = self.outcomes.get((step, file), set())
                if "passed" not in found or "failed" in found:
                    return False
        return True


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def shortened(text: str, brought: Brought) -> tuple[str, list[str]]:
    """UNPROVEN.md without what is proven now, and what that is."""
    kept, proven = [], []
    for line in text.splitlines():
        found = cells(line)
        steps = re.findall(r"[a-z-]*[a-z]", found[2]) if len(found) == 3 else []
        if line.startswith("| ") and brought.proves(found[1] if steps else "", steps):
            proven.append(found[0])
        else:
            kept.append(line)
    return "\n".join(kept) + "\n", proven


def bring(folders: list[Path], results: Path, readme: Path, dry: bool) -> None:
    brought = Brought(folders, dry)
    for part in brought.parts:
        for name, key in KEYS.items():
            if rows := read_rows(part / name):
                merge_rows(results / name, rows, key)
                print(f"{results / name}: {len(rows)} rows")
    tables.RESULTS = results
    tables.write(readme)
    text, proven = shortened((results / UNPROVEN).read_text("utf-8"), brought)
    with atomic_write(results / UNPROVEN, "w") as file:
        file.write(text)
    for what in proven:
        print(f"proven: {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="what gpu_run.sh left, as $OUT")
    parser.add_argument("--dry", action="store_true", help="change copies, of a dry run's results")
    options = parser.parse_args()
    if not options.dry:
        return bring(options.folders, harness.RESULTS, harness.README, False)
    with tempfile.TemporaryDirectory() as folder:
        results, readme = Path(folder) / "results", Path(folder) / "README.md"
        shutil.copytree(harness.RESULTS, results)
        shutil.copy(harness.README, readme)
        bring(options.folders, results, readme, True)


if __name__ == "__main__":
    main()
