"""How well do the presets retrieve? Evaluates finished runs into results/accuracy.csv.

    semicon-fast train --preset cifar10-dsh-quick-12 --root DATA -o runs/cifar10-dsh-quick-12
    python benchmarks/accuracy.py runs/*

All metrics are computed here from the run's model and codes; each row has the training command.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from harness import RESULTS, environment, merge_rows

from semicon_fast.training import evaluate_run

METRICS = ("mAP", "mAP_stable", "precision_within_radius_2")


def rows_of(run: Path) -> list[dict[str, Any]]:
    """One row for each kind of database codes (encoded or learned)."""
    result = json.loads((run / "result.json").read_text("utf-8"))
    config = result["config"]
    evaluated = evaluate_run(run)
    return [
        {
            "run": run.name,
            "data": config["data"]["name"],
            "network": config["model"]["network"],
            "method": config["method"]["name"],
            "bits": config["model"]["code_length"],
            "database codes": way,
            **{name: scores[name] for name in METRICS},
            "selection": result["selection"]["kept"],
            "protocol": evaluated["protocol"],
            "training seconds": round(result["seconds"]),
            **environment(),
            "command": result["command"],
        }
        for way, scores in evaluated["evaluation"].items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    rows = [row for run in arguments.runs for row in rows_of(run)]
    merge_rows(RESULTS / "accuracy.csv", rows, ("run", "database codes"))
    for row in rows:
        print(f"{row['run']:32} {row['database codes']:36} mAP {row['mAP']:.4f}")


if __name__ == "__main__":
    main()
