"""Generates indexes and searches, and compares the results of each engine with the reference."""

import numpy as np
import torch
from hypothesis import HealthCheck
from hypothesis import strategies as st

from semicon_fast.reference import hamming as reference
from semicon_fast.search import HammingIndex

QUIET = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}
PLACES = ["whole", "backwards", "every second row", "columns", "by columns", "read-only"]


@st.composite
def cases(draw):
    lengths = st.one_of(
        st.integers(1, 130),
        st.integers(1, 4096),
        st.sampled_from([12, 24, 32, 48, 64, 128, 256, 512, 768, 1024, 2048, 4096]),
    )
    bits = draw(lengths)
    # With few codes or a large k the kernels rank all codes; from 2,049 codes on they select, and
    # from 16,384 on with limits from a sample.
    sizes = [st.sampled_from([0, 1, 2, 15, 16, 17, 63, 65]), st.integers(0, 300)]
    sizes.append(st.integers(2049, 4000))
    if bits <= 128:
        sizes.append(st.integers(16_384, 20_000))
    count = draw(st.one_of(sizes))
    wanted = [st.integers(1, 12), st.integers(1, 1 + count // 16), st.integers(1, count + 9)]
    return {
        "bits": bits,
        "count": count,
        "queries": draw(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 70])),
        "distinct": draw(st.sampled_from([0, 0, 1, 2, 7, 60])),
        "order": draw(st.sampled_from(["random", "ascending", "descending"])),
        "ids": draw(st.sampled_from(["numbered", "gaps", "shuffled"])),
        "places": draw(st.tuples(st.sampled_from(PLACES), st.sampled_from(PLACES))),
        "k": draw(st.one_of(wanted)),
        "radius": draw(st.one_of(st.integers(0, bits + 1), st.sampled_from([bits // 2, 2**70]))),
        "threads": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**31)),
    }


def drawn(rng, rows, bits, distinct, order="random"):
    """Random codes uint8 (rows, ceil(bits / 8)) with unused bits 0; distinct: at most so many."""
    width = -(-bits // 8)
    codes = rng.integers(0, 256, (distinct or rows, width), dtype=np.uint8)
    codes[:, -1] &= 255 >> (-bits % 8)
    if distinct:
        codes = codes[rng.integers(0, distinct, rows)]
    if order != "random":
        codes = codes[np.lexsort(codes.T)]
    return codes[::-1].copy() if order == "descending" else codes


def placed(codes, place):
    """The same codes with another memory layout."""
    if place == "backwards":
        return codes[::-1].copy()[::-1]
    if place == "every second row":
        return np.repeat(codes, 2, axis=0)[::2]
    if place == "columns":
        return np.pad(codes, ((0, 0), (3, 2)), constant_values=255)[:, 3:-2]
    if place == "by columns":
        return np.asfortranarray(codes)
    codes = codes.copy()
    codes.flags.writeable = place != "read-only"
    return codes


def numbers(rng, count, kind):
    """Unique ids, or None for 0..count - 1."""
    if kind == "numbered":
        return None
    ids = np.cumsum(rng.integers(1, 50, count))
    return rng.permutation(ids) if kind == "shuffled" else ids


def built(case, codes, ids, device="cpu"):
    index = HammingIndex(case["bits"], device)
    for part in np.array_split(np.arange(case["count"]), 3):
        index.add(placed(codes[part], case["places"][0]), None if ids is None else ids[part])
    return index


def assert_all_equal(found, wanted, *what):
    for one, other in zip(found, wanted, strict=True):
        one, other = torch.as_tensor(one), torch.as_tensor(other)
        assert one.dtype == other.dtype and torch.equal(one, other), what


def searched(ranking, ids, k):
    near, where = (part[:, :k] for part in ranking)
    missing = (0, k - near.shape[1])
    return (
        torch.nn.functional.pad(near, missing, value=2**31 - 1),
        torch.nn.functional.pad(ids[where], missing, value=-1),
    )


def grouped(rng, queries, count):
    """groups, members and lims: groups with all codes, 30 %, 1 %, and none."""
    members = [(rng.random(count) < share).nonzero()[0] for share in (1.0, 0.3, 0.01, 0.0)]
    lims = np.cumsum([0, *map(len, members)])
    tables = rng.integers(0, 4, queries), np.concatenate(members), lims
    return [torch.from_numpy(table) for table in tables]


def ranks(ranking, groups, members, lims):
    """Ranks, from 1, of each query's members, taken from the full ranking."""
    found = [torch.empty(0, dtype=torch.int64)]
    for order, group in zip(ranking[1], groups, strict=True):
        wanted = members[lims[group] : lims[group + 1]]
        found.append(torch.isin(order, wanted).nonzero().flatten() + 1)
    return torch.cat(found)


def histograms(distances, width, groups, members, lims):
    """Histogram of each query's distances to its members, int64 (Q, width)."""
    found = [torch.empty(0, width, dtype=torch.int64)]
    for row, group in zip(distances, groups, strict=True):
        near = row[members[lims[group] : lims[group + 1]]]
        found.append(torch.bincount(near, minlength=width)[None])
    return torch.cat(found)


def check(case, engines, device="cpu"):
    """Compares every result of an index on `device` with the reference, for each engine.

    engines() is a generator that activates one engine after another and yields its name.
    """
    rng = np.random.default_rng(case["seed"])
    codes = drawn(rng, case["count"], case["bits"], case["distinct"], case["order"])
    queries = drawn(rng, case["queries"], case["bits"], case["distinct"])
    if len(codes) and case["distinct"]:
        queries[::2] = codes[rng.integers(0, len(codes), len(queries[::2]))]
    ids = numbers(rng, case["count"], case["ids"])
    index = built(case, codes, ids, device)
    asked = placed(queries, case["places"][1])

    names = np.arange(len(codes)) if ids is None else np.sort(ids)
    database = torch.tensor(codes if ids is None else codes[np.argsort(ids)])
    plain, names = torch.tensor(queries), torch.tensor(names)
    ranking = reference.hamming_topk(plain, database, len(database))
    in_range = reference.hamming_range(plain, database, min(case["radius"], case["bits"]))
    distances = reference.hamming_distance(plain, database)
    counts = reference.hamming_histogram(plain, database)
    groups = grouped(rng, len(plain), len(database))
    wanted = {
        "search": searched(ranking, names, case["k"]),
        "rank": (ranking[0], names[ranking[1]]),
        "range_search": (*in_range[:2], names[in_range[2]]),
        "distance": [distances],
        "histogram": [counts],
        "ranks": [ranks(ranking, *groups)],
        "group_histogram": [histograms(distances, counts.shape[1], *groups)],
    }
    operands = plain.to(device), database.to(device).T.contiguous().T
    groups = [table.to(device) for table in groups]
    for engine in engines():
        for name, found in answers(index, asked, case, operands, groups):
            assert_all_equal(found, wanted[name], engine, name)
    assert np.array_equal(index.reconstruct(names.numpy()), database.numpy())


def answers(index, asked, case, operands, groups):
    """Yields (name, results as CPU tensors or arrays) for every operation."""
    operations = torch.ops.semicon_fast
    yield "search", index.search(asked, case["k"])
    yield "rank", index.rank(asked)
    yield "range_search", index.range_search(asked, case["radius"])
    yield "distance", [operations.hamming_distance(*operands).cpu()]
    yield "histogram", [operations.hamming_histogram(*operands).cpu()]
    yield "ranks", [operations.hamming_ranks(*operands, *groups).cpu()]
    yield "group_histogram", [operations.hamming_group_histogram(*operands, *groups).cpu()]
