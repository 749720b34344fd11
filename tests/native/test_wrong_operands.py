"""Generated wrong calls of the operations: a sentence each, and no crash."""

import random

import pytest
import torch

from semicon_fast.ops import hamming

WIDTH = 3


def wrong_operand(draw):
    """No tensor of uint8 (n, 3)."""
    rows = draw.randrange(5)
    kinds = (torch.int8, torch.int64, torch.float16, torch.float32, torch.bool, torch.complex64)
    return draw.choice(
        [
            torch.zeros(rows, WIDTH).to(draw.choice(kinds)),
            torch.zeros(rows, WIDTH, requires_grad=True),
            torch.full((rows, WIDTH), torch.nan),
            torch.zeros(rows, draw.choice([0, 1, 2, 4, 513]), dtype=torch.uint8),
            torch.zeros(draw.choice([(), (3,), (0,), (1, 2, 3)]), dtype=torch.uint8),
            torch.zeros(6, 4, dtype=torch.uint8).T[:, ::2][:, :2],
        ]
    )


@pytest.fixture(params=["checked", "operator"])
def operations(request):
    """The functions of ops.hamming, and below them the native operators, which check as well."""
    if request.param == "operator":
        request.getfixturevalue("isas")
        return torch.ops.semicon_fast
    return hamming


@pytest.mark.parametrize("name", ["topk", "range", "distance", "histogram"])
def test_a_wrong_call_of_an_operation_is_a_sentence(operations, codes, name):
    function = getattr(operations, f"hamming_{name}")
    good, draw = codes(5, WIDTH, seed=1), random.Random(name)
    for number in range(250):
        extra = (2,) if name in ("topk", "range") else ()
        queries, database = good, good
        which = draw.randrange(3 if extra else 2)
        if which == 0:
            queries = wrong_operand(draw)
        elif which == 1:
            database = wrong_operand(draw)
        else:
            extra = (draw.choice([-1, -(2**63)] + [6, 2**31, 2**62] * (name == "topk")),)
        with pytest.raises((ValueError, TypeError)) as error:
            function(queries, database, *extra)
        assert len(str(error.value).split()) >= 3, (number, error.value)


def wrong_groups(draw):
    """No groups, members and lims for five queries on five codes, among them one that crosses."""
    right = {"groups": [0, 1, 1, 0, 0], "members": [0, 4, 1, 2, 3], "lims": [0, 2, 5]}
    wrong = {
        "groups": [[0, 1, 1, 0], [0, 2, 0, 0, 0], [-1, 0, 0, 0, 0], [2**62] * 5, [[0] * 5]],
        "members": [
            [0, 5, 1, 2, 3],
            [-1, 4, 1, 2, 3],
            [4, 0, 1, 2, 3],
            [1, 1, 1, 2, 3],
            [0, 1],
            [],
        ],
        "lims": [[], [0], [0, 2, 6], [1, 2, 5], [0, 6, 5], [0, -1, 5], [0, 2, 2**62], [[0, 2, 5]]],
    }
    name = draw.choice(sorted(wrong))
    tensors = {key: torch.tensor(value) for key, value in right.items()}
    tensors[name] = draw.choice(
        [torch.tensor(value, dtype=torch.int64) for value in wrong[name]]
        + [tensors[name].to(draw.choice([torch.int32, torch.float32, torch.uint8, torch.bool]))]
    )
    return tensors.values()


@pytest.mark.parametrize("name", ["ranks", "group_histogram"])
def test_wrong_groups_are_a_sentence(isas, operations, codes, name):
    """The values of groups are checked by the kernels, which would read where they point."""
    good, draw = codes(5, WIDTH, seed=1), random.Random(3)
    for number in range(300):
        groups = wrong_groups(draw)
        with pytest.raises((ValueError, TypeError)) as error:
            getattr(operations, f"hamming_{name}")(good, good, *groups)
        assert len(str(error.value).split()) >= 3, (number, error.value)


def test_the_checked_operations_refuse_what_is_no_tensor_and_other_devices(codes):
    good = codes(5, WIDTH, seed=1)
    away = torch.zeros(5, WIDTH, dtype=torch.uint8, device="meta")
    for wrong in (None, good.numpy(), [[1]], 3, "codes", away):
        for pair in ((good, wrong), (wrong, good)):
            with pytest.raises((ValueError, TypeError), match="queries|database"):
                hamming.hamming_topk(*pair, 1)
