"""All figures of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ..data import evaluation_batches
from ..training import EncodedRun, Result
from ..viz import (
    Picture,
    attention_figure,
    channel_figure,
    code_length_figure,
    output_histogram,
    parts_figure,
    precision_recall_figure,
    retrieval_grid,
)
from .examples import Examples
from .kinds import KINDS

CHANNEL_COUNT = 4
RADIUS_METRIC = "precision_within_radius_2"
# Largest number of images whose outputs are in the histogram.
HISTOGRAM_IMAGES = 2000


def run_pictures(
    run: EncodedRun,
    examples: Examples,
    evaluation: Mapping[str, Any],
    others: Sequence[Result] = (),
    kinds: Sequence[str] = tuple(KINDS),
) -> Iterator[tuple[str, Picture]]:
    """(kind, figure) for each of `kinds` that applies to the run.

    A network without attention has no "maps", one without ICON no "channels", one with a single
    part no "parts".

    Args:
        run: the run with its codes.
        examples: queries with their activations and hits.
        evaluation: `evaluate_encoded(run)["evaluation"]`.
        others: results of runs with other code lengths, for "lengths".
        kinds: keys of `KINDS`.

    Raises:
        ValueError: an unknown kind.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"kind must be among {', '.join(KINDS)}, got {unknown[0]!r}")
    made: dict[str, Callable[[], Picture | None]] = {
        "maps": lambda: maps_picture(examples),
        "channels": lambda: channels_picture(examples),
        "grid": lambda: grid_picture(run, examples),
        "curve": lambda: curve_picture(evaluation),
        "lengths": lambda: lengths_picture(run, evaluation, others),
        "outputs": lambda: outputs_picture(run),
        "parts": lambda: parts_picture(evaluation),
    }
    for kind in kinds:
        picture = made[kind]()
        if picture is not None:
            yield kind, picture


def maps_picture(examples: Examples) -> Picture | None:
    """Attention maps of the examples; None without attention."""
    if examples.look.maps is None:
        return None
    return attention_figure(examples.look.seen, examples.look.maps, titles(examples))


def channels_picture(examples: Examples) -> Picture | None:
    """Features before and after ICON in the channels whose mean after ICON varies most between the
    examples; None without ICON."""
    before, after = examples.look.before, examples.look.after
    if before is None or after is None:
        return None
    spread = after.mean((2, 3)).std(0, unbiased=False)
    channels = spread.topk(min(CHANNEL_COUNT, len(spread))).indices.sort().values.tolist()
    return channel_figure(examples.look.seen, before, after, channels, titles(examples))


def grid_picture(
    run: EncodedRun, examples: Examples, names: Sequence[str] | None = None
) -> Picture:
    """The examples with their hits. names: titles of the queries, by default `titles`."""
    known = all(hit.right is not None for row in examples.hits for hit in row)
    return retrieval_grid(
        examples.images,
        [[hit.image for hit in row] for row in examples.hits],
        [[hit.distance for hit in row] for row in examples.hits],
        [[bool(hit.right) for hit in row] for row in examples.hits] if known else None,
        query_names=titles(examples) if names is None else names,
        hit_names=[[hit.name for hit in row] for row in examples.hits],
        title=f"{run.data.name}, {run.bits} bits: queries and their nearest images "
        "(encoded database)",
    )


def curve_picture(evaluation: Mapping[str, Any]) -> Picture:
    """Precision over recall, one line per way of computing the database codes."""
    return precision_recall_figure(
        {way: (f["curve"]["recall"], f["curve"]["precision"]) for way, f in evaluation.items()}
    )


def parts_picture(evaluation: Mapping[str, Any]) -> Picture | None:
    """mAP by parts; None if the code has a single part."""
    found = {way: metrics["parts"] for way, metrics in evaluation.items() if "parts" in metrics}
    if not found:
        return None
    kinds = ("cumulative", "alone")
    return parts_figure(*({way: parts[k] for way, parts in found.items()} for k in kinds))


def lengths_picture(
    run: EncodedRun, evaluation: Mapping[str, Any], others: Sequence[Result]
) -> Picture:
    """Precision within radius 2 over the code length, for this run and others."""
    lines: dict[str, dict[int, float]] = {}
    runs = [(run.config, evaluation), *((other.config, other.evaluation) for other in others)]
    for config, by_way in runs:
        for way, metrics in by_way.items():
            name = f"{config.method.name}, {way}"
            lines.setdefault(name, {})[config.model.code_length] = metrics[RADIUS_METRIC]
    return code_length_figure(lines)


def outputs_picture(run: EncodedRun) -> Picture:
    """Histogram of the outputs for the first queries, by part."""
    outputs = query_outputs(run)
    return output_histogram(
        {name: outputs[:, group].numpy() for name, group in run.model.bit_groups.items()}
    )


def query_outputs(run: EncodedRun, most: int = HISTOGRAM_IMAGES) -> torch.Tensor:
    """Real-valued outputs float32 (B, k) for the first `most` queries, before the sign."""
    from ..viz.activations import transform_of

    images = run.data.query.subset(range(min(most, len(run.data.query))))
    device = next(run.model.parameters()).device
    run.model.eval()
    with torch.inference_mode():
        batches = evaluation_batches(images, transform_of(run.model), 64, 0)
        return torch.cat(
            [run.model(batch.images.to(device)).codes.float().cpu() for batch in batches]
        )


def titles(examples: Examples) -> list[str]:
    """The label of each example, or its name if the label is unknown."""
    pairs = zip(examples.labels, examples.names, strict=True)
    return [label or name for label, name in pairs]
