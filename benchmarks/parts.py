"""What SEMICON's attention maps and bits represent, on generated birds whose parts are known.

Compares SEM's mask with erasing and with no mask.

python benchmarks/parts.py --runs runs/parts             # trains missing runs, then measures
python benchmarks/parts.py --quick --csv parts.csv       # a few images: does everything run?

Each network is the preset birdlets-48 with as many attention maps as the birds have parts. Maps and
bits are measurements on images used neither for training nor for model selection.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import torch
from harness import RESULTS, command, environment, merge_rows
from torch import Tensor

from semicon_fast import data, metrics, models
from semicon_fast.data.birdlet_drawing import PARTS
from semicon_fast.models import HashModel
from semicon_fast.training import Config, Result, Trainer, preset
from semicon_fast.viz import record_activations
from semicon_fast.viz.activations import seen_pixels, transform_of

ATTENTIONS = ("sem", "erase", "none")
KEY = ("attention", "measure", "of", "part")


def configuration(attention: str, settings: list[str], quick: bool) -> Config:
    options = f'{{"backbone": "tiny", "parts": 4, "attention": "{attention}"}}'
    changes = [f"model.options={options}", "run.threads=1"]
    if quick:
        changes += ["schedule.iterations=1", "schedule.epochs=1", "schedule.samples=64"]
    return preset("birdlets-48").override([*changes, *settings])


def network(folder: Path, config: Config) -> tuple[HashModel, Result]:
    """The trained network of a run folder, which is trained first if necessary."""
    result = Trainer(config, output=folder, resume=True).fit()
    return models.load(folder / "model.safetensors"), result


def unseen(config: Config, per_class: int) -> data.ImageSet:
    """Images of the same classes that are not in the training set."""
    options = {**config.data.options, "query_per_class": per_class}
    return data.load("birdlets", None, **options).query


def activations(model: HashModel, images: data.ImageSet) -> tuple[Tensor, Tensor, Tensor]:
    """outputs (N, k), maps (N, m, h, w), part masks bool (N, P, S, S) of the network's input."""
    transform = transform_of(model)
    found, masks = [], []
    for start in range(0, len(images), 64):
        rows = range(start, min(start + 64, len(images)))
        found.append(record_activations(model, [images.image(i) for i in rows]))
        for i in rows:
            as_pictures = [m.to(torch.uint8).mul(255).expand(3, -1, -1) for m in images.masks(i)]
            seen = [seen_pixels(x, transform)[0] > 127 for x in transform(as_pictures)]
            masks.append(torch.stack(seen))
    outputs, maps = (torch.cat([getattr(f, n) for f in found]) for n in ("outputs", "maps"))
    return outputs, maps, torch.stack(masks)


def measurements(model: HashModel, images: data.ImageSet) -> list[tuple[str, str, str, float]]:
    """All measurements as (measure, of, part, value)."""
    outputs, maps, masks = activations(model, images)
    values = images.source.values[images.rows]  # type: ignore[attr-defined]
    rows: list[tuple[str, str, str, float]] = []
    names = [f"M{i + 1}" for i in range(maps.shape[1])]
    for measure, table in metrics.map_overlap(maps, masks).items():
        for name, line in zip(names, table.tolist(), strict=True):
            rows += [(f"overlap {measure}", name, PARTS[p], v) for p, v in enumerate(line)]
    for measure, table in metrics.map_likeness(maps).items():
        for i, j in itertools.combinations(range(len(names)), 2):
            rows.append((f"likeness {measure}", names[i], names[j], float(table[i, j])))
    for name, group in model.bit_groups.items():
        for p in range(values.shape[1]):
            bits = outputs[:, group] >= 0
            found = metrics.bit_information(bits, values[:, p])
            rows.append(("information", name, PARTS[p], found))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/parts"), help="folder of the runs")
    parser.add_argument("--attention", nargs="*", default=ATTENTIONS, choices=ATTENTIONS)
    parser.add_argument("--set", dest="settings", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", type=int, default=40, help="images a class to measure on")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--csv", type=Path, default=RESULTS / "parts.csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for attention in given.attention:
        config = configuration(attention, given.settings, given.quick)
        model, result = network(given.runs / attention, config)
        images = unseen(config, 2 if given.quick else given.images)
        about: dict[str, Any] = {
            "images": len(images),
            "passes": config.schedule.iterations * config.schedule.epochs,
            "seed": config.run.seed,
            **environment(),
            "command": command(),
        }
        scores = [("mAP", way, "", found["mAP"]) for way, found in result.evaluation.items()]
        rows = [
            dict(zip(KEY, (attention, *row[:3]), strict=True)) | {"value": row[3]} | about
            for row in [*scores, *measurements(model, images)]
        ]
        merge_rows(given.csv, rows, KEY)
        print(f"{attention}: {len(rows)} values of {len(images)} images in {given.csv}")


if __name__ == "__main__":
    main()
