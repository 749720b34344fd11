"""mAP from codes and labels: ours, and the loop that released code of the field uses.

An evaluation takes the number of queries to evaluate and returns their mean average precision.
"""

from collections.abc import Callable

import numpy as np
import torch
from hamming_cases import CLASSES, Case, draw, draw_labels

from semicon_fast import metrics

Evaluation = Callable[[int], float]

# The loop takes the same time for each query, so more queries would not change its rate.
LOOP_QUERIES = 150


def own(case: Case, ties: str) -> Evaluation:
    codes, labels = draw(case), draw_labels(case)

    def run(count: int) -> float:
        return metrics.mean_average_precision(
            codes[0][:count], codes[1], labels[0][:count], labels[1], bits=case.bits, ties=ties
        )

    return run


def released_loop(case: Case) -> Evaluation:
    """A loop over the queries: relevance from a product of one-hot labels, distances from a product
    of +-1 codes, an argsort with ties in arbitrary order, and precision at the relevant ranks. (As
    in SEMICON's utils/evaluate.py; ADSH's and ExchNet's are similar.)"""
    queries, database = (_signs(codes, case.bits) for codes in draw(case))
    asked, held = (
        torch.nn.functional.one_hot(torch.from_numpy(labels), CLASSES).float()
        for labels in draw_labels(case)
    )

    def one(row: int) -> float:
        relevant = (asked[row] @ held.T > 0).float()
        distances = 0.5 * (case.bits - queries[row] @ database.T)
        ranks = relevant[distances.argsort()].nonzero().squeeze(1) + 1.0
        if len(ranks) == 0:
            return 0.0
        return float((torch.linspace(1, len(ranks), len(ranks)) / ranks).mean())

    return lambda count: sum(map(one, range(count))) / count


def _signs(codes: np.ndarray, bits: int) -> torch.Tensor:
    return torch.from_numpy(np.unpackbits(codes, axis=1, bitorder="little")[:, :bits]) * 2.0 - 1


def evaluation(engine: str, case: Case) -> tuple[Evaluation, int]:
    """The evaluation, and the number of queries that it is timed with."""
    if engine == "released loop":
        return released_loop(case), min(LOOP_QUERIES, case.queries)
    return own(case, engine.rpartition(" ")[2]), case.queries
