"""Asymmetric search on every instruction set gives the reference's scores, bit for bit."""

import pytest
import torch

from semicon_fast.ops import score_topk
from semicon_fast.reference import scores as reference

# (codes, bytes, bits short of 8 * bytes, queries, k): around a strip of 64 codes, four queries,
# and the length from which sums are kept in 16 bits.
CASES = [
    (1, 1, 7, 1, 1),
    (63, 1, 0, 3, 63),
    (64, 2, 3, 4, 5),
    (65, 3, 0, 5, 65),
    (1000, 6, 1, 9, 10),
    (5000, 8, 0, 66, 1),
    (5000, 8, 0, 6, 1500),
    (2000, 9, 4, 4, 100),
    (1500, 32, 0, 7, 10),
    (1500, 33, 2, 7, 10),
    (700, 129, 0, 5, 20),
    (300, 512, 0, 6, 7),
]


def outputs_of(kind, count, bits, generator):
    outputs = torch.randn(count, bits, generator=generator)
    if kind == "one large":
        outputs[:, bits // 2] *= 1e5
    elif kind == "integers":  # many equal scores
        outputs = outputs.mul(2).round()
    elif kind == "zeros":
        outputs = outputs.zero_().neg()
    elif kind == "tiny":
        outputs *= 1e-30
    return outputs


@pytest.mark.parametrize("kind", ["normal", "one large", "integers", "zeros", "tiny"])
@pytest.mark.parametrize("distinct", [None, 3])
def test_scores_equal_the_reference(each_isa, codes, kind, distinct):
    for number, (count, width, short, queries, k) in enumerate(CASES):
        generator = torch.Generator().manual_seed(number)
        outputs = outputs_of(kind, queries, 8 * width - short, generator)
        database = codes(count, width, seed=number, distinct=distinct)
        wanted = reference.score_topk(outputs, database, k)
        for isa in each_isa():
            found = score_topk(outputs, database, k)
            assert torch.equal(found[0], wanted[0]), (isa, number)
            assert torch.equal(found[1], wanted[1]), (isa, number)


@pytest.mark.parametrize("layout", ["columns of a wider table", "every second row", "odd address"])
def test_any_layout_of_the_codes(each_isa, codes, layout):
    outputs = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    database = codes(777, 5, seed=2, layout=layout)
    wanted = reference.score_topk(outputs, database, 9)
    for _ in each_isa():
        found = score_topk(outputs, database, 9)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_threads_change_nothing(isas, codes, threads):
    outputs = torch.randn(70, 64, generator=torch.Generator().manual_seed(3))
    # Few distinct codes, so that equal scores are split between the threads' ranges.
    database = codes(300_000, 8, seed=4, distinct=1000)
    threads(1)
    wanted = score_topk(outputs, database, 700)
    threads(3)
    found = score_topk(outputs, database, 700)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
