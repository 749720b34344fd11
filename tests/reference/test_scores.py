"""The definition of asymmetric scores, held against sums in float64 and one bit at a time."""

import torch

from semicon_fast.codes import pack_codes
from semicon_fast.reference import scores as reference


def data(queries=7, count=300, bits=45):
    generator = torch.Generator().manual_seed(0)
    signs = torch.where(torch.rand(count, bits, generator=generator) < 0.5, -1.0, 1.0)
    return torch.randn(queries, bits, generator=generator), signs


def test_scores_are_inner_products_with_signs():
    outputs, signs = data()
    found = reference.scores(outputs, pack_codes(signs))
    exact = outputs.double() @ signs.double().T
    # Each of less than 45 additions errs by at most 2^-24 of the sum of magnitudes.
    allowed = 45 * 2.0**-24 * outputs.double().abs().sum(1, keepdim=True)
    assert found.dtype == torch.float32
    assert ((found.double() - exact).abs() <= allowed).all()


def test_the_order_of_the_sum():
    outputs, signs = data(queries=2, count=5, bits=11)
    found = reference.scores(outputs, pack_codes(signs))
    for q in range(2):
        for n in range(5):
            terms = [*(outputs[q] * signs[n]), torch.tensor(-0.0)]  # the twelfth bit is 0
            groups = [((terms[i] + terms[i + 1]) + terms[i + 2]) + terms[i + 3] for i in (0, 4, 8)]
            assert found[q, n] == (groups[0] + groups[1]) + groups[2]


def test_equal_scores_are_in_order_of_position():
    outputs = torch.tensor([[1.0, 2.0, 0.0, -0.0]])
    codes = torch.tensor([[3], [7], [0], [11], [15], [2]], dtype=torch.uint8)
    scores, positions = reference.score_topk(outputs, codes, 6)
    assert positions.tolist() == [[0, 1, 3, 4, 5, 2]]
    assert scores.tolist() == [[3, 3, 3, 3, 1, -3]]


def test_blocks_change_nothing(monkeypatch):
    outputs, signs = data()
    codes = pack_codes(signs.round())
    whole = reference.scores(outputs, codes).sort(dim=1, descending=True, stable=True)
    monkeypatch.setattr(reference, "_VALUES", 64)
    scores, positions = reference.score_topk(outputs, codes, 12)
    assert torch.equal(scores, whole.values[:, :12])
    assert torch.equal(positions, whole.indices[:, :12])
