"""More than 2**31 bytes of codes on a device: right answers on every path."""

import pytest
import torch

from semicon_fast import ops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("count, width", [(400_000_000, 8), (2_200_000_000, 1), (5_000_000, 512)])
def test_positions_and_addresses_beyond_31_bits(count, width):
    if torch.cuda.mem_get_info()[0] < 2 * count * width:
        pytest.skip(f"needs {2 * count * width >> 30} GiB of memory on the device")
    generator = torch.Generator("cuda").manual_seed(0)
    database = torch.empty(count, width, dtype=torch.uint8, device="cuda")
    for rows in database.split((1 << 28) // width):
        rows.random_(0, 256, generator=generator)
    queries = torch.randint(0, 256, (20, width), dtype=torch.uint8, device="cuda")
    if width == 1:  # values that the rest does not have
        database &= 0x0F
        queries |= 0xF0
    where = torch.arange(20, device="cuda") * (count // 20) + count // 20 - 1
    database[where] = queries
    assert int(where[-1]) * width > 2**31
    for path in torch.ops.semicon_fast._cuda_paths():
        assert torch.ops.semicon_fast._use_cuda_path(path)
        try:
            for k in (1, 100):
                near, found = ops.hamming_topk(queries, database, k)
                same = (queries.unsqueeze(1) == queries.unsqueeze(0)).all(2)
                first = torch.where(same, where, count).amin(1)
                assert torch.equal(found[:, 0], first) and not near[:, 0].any(), path
                keys = near.long() * 2**34 + found
                ordered = keys[:, 1:] > keys[:, :-1]
                assert bool(ordered.all()), path
                check = database[found.flatten()].view(20, k, width) ^ queries.unsqueeze(1)
                bits = sum((check >> shift) & 1 for shift in range(8)).sum(2, dtype=torch.int32)
                assert torch.equal(bits, near), path
        finally:
            torch.ops.semicon_fast._use_cuda_path("automatic")
    counts = ops.hamming_histogram(queries[:2], database)
    assert counts.sum(1).tolist() == [count, count]
    lims, near, found = ops.hamming_range(queries, database, 0)
    assert bool((near == 0).all()) and bool(torch.isin(where, found).all())
