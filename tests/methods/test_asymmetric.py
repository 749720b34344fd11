"""The factored objective and code update against the matrices they stand for."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast import methods
from semicon_fast.methods import asymmetric

C, N, SAMPLED, K = 5, 60, 20, 8


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def single_labels(seed=1):
    return torch.cat([torch.arange(C), torch.randint(0, C, (N - C,), generator=generator(seed))])


def several_labels(seed=1):
    labels = torch.rand(N, C, generator=generator(seed)) < 0.3
    labels[0] = False
    return labels


LABELS = {"single": single_labels, "several": several_labels}


def relevance(labels, rows):
    """bool (n, N), the definition."""
    if labels.ndim == 1:
        return labels[rows][:, None] == labels[None]
    return (labels[rows].double() @ labels.double().T) > 0


def soft_similarity(relevant):
    """S of the released code: S (1 + r) - r with r = sum S / sum (1 - S), from S in {-1, +1}."""
    s = torch.where(relevant, 1.0, -1.0).double()
    r = s.sum() / (1 - s).sum()
    return s * (1 + r) - r


def output(codes):
    return SimpleNamespace(codes=codes, features=None, parts=None, maps=None)


def started(labels, name="semicon", rows=None, k=K, **options):
    method = methods.build(name, **options)
    method.begin(labels, k, generator(2))
    rows = torch.randperm(len(labels), generator=generator(3))[:SAMPLED] if rows is None else rows
    method.start_iteration(0, rows)
    return method, rows


def dense_loss(codes, similarity, database, own, gamma, k, scale):
    square = (k * similarity - codes @ database.T).square().sum()
    return scale * square, scale * gamma * (codes - own).square().sum()


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("normalise", [True, False])
def test_factored_loss_and_gradient_equal_the_dense_ones(kind, normalise):
    labels = LABELS[kind]()
    method, rows = started(labels, normalise=normalise)
    similarity = soft_similarity(relevance(labels, rows))
    batch = torch.tensor([3, 0, 17, 8, 11])
    codes = torch.randn(5, K, generator=generator(4)).tanh().requires_grad_()
    terms = method.loss(output(codes), labels[rows[batch]], rows[batch])
    (got,) = torch.autograd.grad(terms["hash"] + terms["quantisation"], codes)

    database = method.codes.double()
    exact = codes.detach().double().requires_grad_()
    scale = 12 / K / (5 * N) if normalise else 1.0
    hashing, quantisation = dense_loss(
        exact, similarity[batch], database, database[rows[batch]], 200, K, scale
    )
    (wanted,) = torch.autograd.grad(hashing + quantisation, exact)
    torch.testing.assert_close(terms["hash"], hashing, rtol=1e-12, atol=0)
    torch.testing.assert_close(terms["quantisation"], quantisation, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        got.double(), wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max())
    )


def dense_update(similarity, outputs, spread_outputs, codes, gamma):
    """The released update, written with the matrices: B[:, b] = sign(Q_b - B_-b U_-b^T u_b)."""
    k = codes.shape[1]
    q = k * similarity.T @ outputs + gamma * spread_outputs
    codes = codes.clone()
    for bit in range(k):
        rest = [b for b in range(k) if b != bit]
        value = q[:, bit] - codes[:, rest] @ (outputs[:, rest].T @ outputs[:, bit])
        codes[:, bit] = torch.where(value >= 0, 1.0, -1.0)
    return codes


def fill(method, labels, rows, seed=5):
    outputs = torch.randn(len(rows), method.codes.shape[1], generator=generator(seed)).tanh()
    for part in torch.arange(len(rows)).split(6):
        method.loss(output(outputs[part]), labels[rows[part]], rows[part])
    return outputs.double()


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", ["semicon", "adsh"])
def test_update_equals_the_dense_one(kind, name):
    labels = LABELS[kind]()
    method, rows = started(labels, name)
    before = method.codes.double().clone()
    outputs = fill(method, labels, rows)
    spread = torch.zeros(N, K).double()
    spread[rows] = outputs
    wanted = dense_update(
        soft_similarity(relevance(labels, rows)), outputs, spread, before, method.gamma
    )
    assert method.learned_codes is None
    method.end_iteration()
    assert torch.equal(method.learned_codes.double(), wanted)
    assert set(method.learned_codes.unique().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("kind", LABELS)
def test_q_equals_the_dense_one(kind, monkeypatch):
    labels = LABELS[kind]()
    method, rows = started(labels)
    outputs = fill(method, labels, rows)
    spread = torch.zeros(N, K).double()
    spread[rows] = outputs
    wanted = K * soft_similarity(relevance(labels, rows)).T @ outputs + 200 * spread
    taken = []
    sweep = asymmetric._coordinate_descent
    monkeypatch.setattr(
        asymmetric, "_coordinate_descent", lambda q, *rest: taken.append(q) or sweep(q, *rest)
    )
    method.end_iteration()
    torch.testing.assert_close(torch.cat(taken), wanted, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("kind", LABELS)
def test_blocks_and_chunks_do_not_change_the_result(kind, monkeypatch):
    labels = LABELS[kind]()
    whole, rows = started(labels)
    fill(whole, labels, rows)
    whole.end_iteration()
    monkeypatch.setattr("semicon_fast.methods.similarity.TILE", 4)
    monkeypatch.setattr("semicon_fast.methods.similarity.CHUNK_ROWS", 7)
    monkeypatch.setattr("semicon_fast.methods.asymmetric.CHUNK_ROWS", 7)
    pieces, _ = started(labels)
    fill(pieces, labels, rows)
    torch.testing.assert_close(pieces.targets, whole.targets, rtol=1e-12, atol=1e-12)
    pieces.end_iteration()
    assert torch.equal(pieces.codes, whole.codes)


def objective(similarity, outputs, codes, own, gamma):
    k = codes.shape[1]
    return float(
        (k * similarity - outputs @ codes.T).square().sum() + gamma * (outputs - own).square().sum()
    )


def test_no_bit_of_the_update_increases_the_objective():
    labels = single_labels()
    method, rows = started(labels)
    fill(method, labels, rows)
    method.end_iteration()
    before = method.codes.double().clone()
    method.start_iteration(1, rows)
    outputs = fill(method, labels, rows, seed=6)
    similarity = soft_similarity(relevance(labels, rows))
    method.end_iteration()
    after = method.codes.double()
    values = []
    for bit in range(K + 1):
        mixed = torch.cat([after[:, :bit], before[:, bit:]], 1)
        values.append(objective(similarity, outputs, mixed, mixed[rows], 200))
    assert not torch.equal(before, after)
    assert all(b <= a * (1 + 1e-12) for a, b in zip(values, values[1:], strict=False))


def hadamard(k):
    h = torch.ones(1, 1)
    while len(h) < k:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h


def test_class_codes_of_hadamard_rows_are_recovered():
    """With as many positive as negative pairs the ratio is 1 and S is in -1, +1."""
    labels = torch.arange(2).repeat_interleave(20)
    method, rows = started(labels, rows=torch.arange(40), k=16)
    assert float(method.ratio) == 1
    code = hadamard(16)[3]
    outputs = torch.stack([code, -code])[labels]
    method.loss(output(outputs), labels, rows)
    method.end_iteration()
    assert torch.equal(method.codes, outputs)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_soft_similarity_sums_to_zero_and_both_derivations_agree(seed, classes, sampled):
    labels = torch.randint(0, classes, (30,), generator=generator(seed))
    rows = torch.randperm(30, generator=generator(seed + 1))[:sampled]
    method, _ = started(labels, rows=rows)
    relevant = relevance(labels, rows)
    if relevant.all():
        assert float(method.ratio) == 0
        return
    ratio = int(relevant.sum()) / int((~relevant).sum())
    assert float(method.ratio) == pytest.approx(ratio, rel=1e-12)
    similarity = relevant.double()
    similarity[~relevant] = -float(method.ratio)
    assert abs(float(similarity.mean())) < 1e-15
    from_zero_one = relevant.double()
    r = from_zero_one.sum() / (1 - from_zero_one).sum()
    torch.testing.assert_close(from_zero_one * (1 + r) - r, similarity, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(soft_similarity(relevant), similarity, rtol=1e-12, atol=1e-13)


def test_cub_negatives_are_minus_0_005025():
    labels = torch.arange(200).repeat_interleave(torch.tensor(COUNTS["cub"]))
    method, _ = started(labels, rows=torch.arange(5994))
    assert float(method.ratio) == pytest.approx(0.005025, abs=5e-7)


COUNTS = {
    "cub": [30] * 194 + [29] * 6,
    "aircraft": [67] * 67 + [66] * 33,
    "food101": [750] * 101,
    # Its real counts lie between 4 and 60; these have its N and its sum of squares.
    "nabirds": [60] * 238 + [43] + [31] * 139 + [30] * 176 + [17],
    "vegfru": [100] * 292,
}
ANCHORS = {
    "cub": (5994, 0.005000, (0.7236, 1.4473, 1.9297, 2.8946), 0.4004),
    "aircraft": (6667, 0.010000, (1.4546, 2.9092, 3.8790, 5.8185), 0.3600),
    "food101": (75750, 0.009901, (1.44, 2.88, 3.84, 5.76), 0.0317),
    "nabirds": (23929, 0.002010, (0.2900, 0.5801, 0.7734, 1.1601), 0.1003),
    "vegfru": (29200, 0.003425, (0.4948, 0.9897, 1.3196, 1.9794), 0.0822),
}


@pytest.mark.parametrize("number", range(4), ids=["12", "24", "32", "48"])
@pytest.mark.parametrize("name", COUNTS)
def test_loss_at_zero_is_the_closed_form_of_the_released_logs(name, number):
    k = (12, 24, 32, 48)[number]
    size, fraction, hashing, quantisation = ANCHORS[name]
    counts = torch.tensor(COUNTS[name])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    assert len(labels) == size
    assert float((counts.double() / size).square().sum()) == pytest.approx(fraction, abs=6e-7)
    method = methods.build("semicon")
    method.begin(labels, k, generator())
    rows = torch.arange(size)
    method.start_iteration(0, rows)
    terms = method.loss(output(torch.zeros(size, k)), labels, rows)
    assert float(terms["hash"]) == pytest.approx(hashing[number], abs=2e-4)
    # Gaussian codes have |b|^2 = k on average only.
    assert float(terms["quantisation"]) == pytest.approx(quantisation, rel=0.02)
    method.end_iteration()
    method.start_iteration(1, rows)
    terms = method.loss(output(torch.zeros(size, k)), labels, rows)
    assert float(terms["hash"]) == pytest.approx(hashing[number], abs=2e-4)
    assert float(terms["quantisation"]) == pytest.approx(2400 / size, rel=1e-12)
    assert float(terms["quantisation"]) == pytest.approx(quantisation, abs=6e-5)


def total(method, codes, labels, rows):
    return sum(float(v) for v in method.loss(output(codes), labels[rows], rows).values())


def test_loss_is_linear_in_the_length_factor_and_gamma_0_removes_the_second_term():
    labels = single_labels()
    codes = torch.randn(SAMPLED, K, generator=generator(4)).tanh()
    values = {}
    for factor in (None, 12.0, 24.0):
        method, rows = started(labels, reference_length=factor)
        values[factor] = total(method, codes, labels, rows)
    assert values[12.0] == pytest.approx(12 / K * values[None], rel=1e-12)
    assert values[24.0] == pytest.approx(2 * values[12.0], rel=1e-12)
    method, rows = started(labels, gamma=0)
    terms = method.loss(output(codes), labels[rows], rows)
    assert float(terms["quantisation"]) == 0 and float(terms["hash"]) > 0


def test_codes_start_as_the_papers_codes_do():
    semicon, _ = started(single_labels())
    assert float(semicon.codes.std()) == pytest.approx(1, abs=0.1)
    adsh, _ = started(single_labels(), "adsh")
    assert not adsh.codes.any() and not adsh.outputs.any()


def test_state_of_a_stopped_iteration_goes_on_to_the_same_codes():
    labels = single_labels()
    method, rows = started(labels)
    fill(method, labels, rows)
    method.end_iteration()
    later = torch.randperm(N, generator=generator(9))[:SAMPLED]
    method.start_iteration(1, later)
    first = torch.randn(10, K, generator=generator(10)).tanh()
    second = torch.randn(10, K, generator=generator(11)).tanh()
    method.loss(output(first), labels[later[:10]], later[:10])
    saved = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    wanted = method.loss(output(second), labels[later[10:]], later[10:])
    method.end_iteration()

    again = methods.build("semicon")
    again.begin(labels, K, generator(77))
    again.start_iteration(1, later)
    again.load_state_dict(saved)
    got = again.loss(output(second), labels[later[10:]], later[10:])
    again.end_iteration()
    assert torch.equal(again.codes, method.codes)
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (torch.tensor([0, 0]), "distinct"),
        (torch.tensor([0, N]), r"0\.\.59"),
        (torch.tensor([], dtype=torch.int64), "n >= 1"),
        (torch.tensor([0.0]), "int64"),
    ],
)
def test_bad_rows_are_refused(rows, sentence):
    method, _ = started(single_labels())
    with pytest.raises(ValueError, match=sentence):
        method.start_iteration(0, rows)


def test_rows_that_were_not_sampled_are_refused():
    labels = single_labels()
    method, _ = started(labels, rows=torch.arange(10))
    with pytest.raises(ValueError, match="start_iteration"):
        method.loss(output(torch.zeros(1, K)), labels[10:11], torch.tensor([10]))


@pytest.mark.parametrize(
    "labels", [torch.tensor([0.5]), torch.tensor([0, -1]), torch.zeros(3, 2), torch.tensor([[1]])]
)
def test_bad_labels_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be"):
        methods.build("semicon").begin(labels, K, generator())


@pytest.mark.parametrize("name", ["semicon", "adsh"])
@pytest.mark.parametrize("kind", LABELS)
def test_what_inference_mode_begins_is_learned_outside_of_it(name, kind):
    """An iteration's beginning and end need no gradients, so that a loop may put them there."""
    labels, rows, steps = LABELS[kind](), torch.arange(SAMPLED), []
    for mode in (torch.enable_grad, torch.inference_mode):
        method = methods.build(name)
        codes = torch.randn(SAMPLED, K, generator=generator(2), requires_grad=True)
        with mode():
            method.begin(labels.clone(), K, generator())
        for iteration in range(2):
            with mode():
                method.start_iteration(iteration, rows.clone())
                method.loss(output(codes.detach() + 1), labels[rows], rows)
            sum(method.loss(output(codes), labels[rows], rows).values()).backward()
            with mode():
                method.end_iteration()
        method.load_state_dict(method.state_dict())
        steps.append((codes.grad, method.learned_codes))
    assert all(torch.equal(one, other) for one, other in zip(*steps, strict=True))
