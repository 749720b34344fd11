"""What do the maps, SEM and ICON add? Trains the rows of the paper's ablation and compares them.

    python benchmarks/ablation.py --root clothing256 -o runs/ablation        # ResNet-50, for a GPU
    python benchmarks/ablation.py --preset folder-small-48 --root clothing256 -o runs/small
    python benchmarks/ablation.py --root DATA --set data.name=cifar10 --set data.image_size=64 \
        --set model.options.backbone=tiny -o runs/ablation-cifar10

Rows: the vanilla network; three attention maps without SEM and ICON; with SEM; with both. The last
three are trained in the paper's variant and in the released one, all with each seed. Stopped runs
are resumed, and finished ones are not repeated. The table shows mean and spread over the seeds; the
figure plots the evaluations of each run over time, if `selection.mode` evaluates during training.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from harness import command, environment, markdown_table, merge_rows
from matplotlib.figure import Figure

from semicon_fast.training import Config, Trainer, preset
from semicon_fast.training.factory import choose_device

ROWS = {
    "vanilla": None,
    "three maps": ("none", "none"),
    "+ SEM": ("sem", "none"),
    "+ ICON": ("sem", "two-step"),
}
VARIANTS = ("paper", "official")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="folder-48")
    parser.add_argument("--root", help="folder of the images")
    parser.add_argument("--output", "-o", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--csv", type=Path, help="add the rows to this file")
    parser.add_argument("--plot", type=Path, help="draw mAP against time (.svg, .png, .pdf)")
    return parser.parse_args(given)


def configs(options: argparse.Namespace) -> Iterator[tuple[str, str, Config]]:
    """(row, variant, configuration) for each seed; all other settings are equal."""
    for row, choices in ROWS.items():
        for variant in VARIANTS if choices else ("-",):
            suffix = {"-": "-vanilla", "official": "-official"}.get(variant, "")
            base = preset(options.preset + suffix)
            own = [] if options.root is None else [f"data.root={options.root}"]
            if options.preset == "folder-48":
                own.append("model.options.weights=null")
            if choices:
                # In quotes, since a bare none would be read as no value.
                names = zip(("attention", "icon"), choices, strict=True)
                own += [f'model.options.{name}="{value}"' for name, value in names]
            for seed in range(options.seeds):
                settings = [*own, *options.set, f"run.seed={68 + seed}"]
                yield row, variant, base.override(settings)


def result_of(config: Config, folder: Path) -> dict[str, Any]:
    """The result of the run, which is trained or resumed if it is not finished."""
    begun = (folder / "config.json").is_file()
    Trainer(config, output=folder, resume=begun).fit()
    return json.loads((folder / "result.json").read_text("utf-8"))


def curve(folder: Path) -> list[tuple[float, float]]:
    """(minutes, mAP) of the run's evaluations."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [(e["seconds"] / 60, e["mAP"]) for e in lines if e["event"] == "evaluation"]


def main() -> None:
    options = arguments()
    found: dict[tuple[str, str, str], list[tuple[dict[str, Any], Path]]] = {}
    for row, variant, config in configs(options):
        name = f"{row}-{variant}-{config.run.seed}".replace("+ ", "plus-").replace(" ", "-")
        folder = options.output / name
        result = result_of(config, folder)
        for way in result["evaluation"]:
            found.setdefault((row, variant, way), []).append((result, folder))
        print(f"{name}: " + ", ".join(f"{v['mAP']:.4f}" for v in result["evaluation"].values()))
    rows = [summary(key, runs) for key, runs in found.items()]
    shown = ("row", "variant", "database codes", "seeds", "mAP", "spread", "minutes")
    body = [[_text(row[c]) for c in shown] for row in rows]
    print("\n" + markdown_table(list(shown), body))
    if options.csv:
        key = ("data", "preset", "row", "variant", "database codes", "device")
        merge_rows(options.csv, [{"preset": options.preset, **row} for row in rows], key)
    if options.plot:
        plot(found, options.plot)


def summary(
    key: tuple[str, str, str], runs: Sequence[tuple[dict[str, Any], Path]]
) -> dict[str, Any]:
    scores = [result["evaluation"][key[2]]["mAP"] for result, _ in runs]
    config = runs[0][0]["config"]
    return {
        "row": key[0],
        "variant": key[1],
        "database codes": key[2],
        "seeds": len(scores),
        "mAP": mean(scores),
        "spread": pstdev(scores),
        "minutes": mean(result["seconds"] for result, _ in runs) / 60,
        "data": Path(config["data"]["root"] or config["data"]["name"]).name,
        "bits": config["model"]["code_length"],
        **environment(str(choose_device(config["run"]["device"]))),
        "command": command(),
    }


def plot(found: dict[tuple[str, str, str], list[tuple[dict[str, Any], Path]]], path: Path) -> None:
    """One line per run, one colour per row, dashed for the released variant."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    seen = set()
    for (row, variant, _), runs in found.items():
        if (row, variant) in seen:
            continue
        seen.add((row, variant))
        style = {"color": f"C{list(ROWS).index(row)}", "ls": "--" if variant == "official" else "-"}
        for number, (_, folder) in enumerate(runs):
            label = f"{row}, {variant}" if number == 0 else None
            minutes, scores = zip(*curve(folder) or [(0.0, float("nan"))], strict=True)
            axes.plot(minutes, scores, label=label, **style)
    axes.set_xlabel("minutes")
    axes.set_ylabel("mAP on the images that select the model")
    axes.legend()
    figure.savefig(path)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
