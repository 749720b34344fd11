"""`semicon-fast recall`: measure how many of the exact nearest neighbours the codes find.

Recall@k is the fraction of a query's k nearest vectors that are among the first k of the search by
codes; any that is as far as the k-th counts. Re-ranked is the order of the first 10 k codes by
their vectors. Queries are a file of their own, or rows that are drawn and left out of the database;
if the hasher was fitted to those rows too, the recall may be too high.

Examples:
  semicon-fast recall hasher features.npy
  semicon-fast recall hasher features.npy --queries new.npy --metric euclidean
"""

import time
from typing import Annotated, Any

import typer

from ..data.vector_files import place
from .arguments import check_choice, check_hasher
from .common import console, print_json, say, table
from .options import AsJson, HasherFile, VectorFile

METRICS = ("cosine", "euclidean", "inner_product")
KS = (1, 10, 100)


def recall(
    hasher: HasherFile,
    features: VectorFile,
    queries: Annotated[
        str | None, typer.Option(help="File of the queries; by default rows of FEATURES.")
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, help="Queries to draw where no file is given.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawing.")] = 0,
    metric: Annotated[str, typer.Option(help=f"What near means: {', '.join(METRICS)}.")] = "cosine",
    candidates: Annotated[
        int, typer.Option(min=1, help="Re-rank this many times k of the codes.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    check_choice("--metric", metric, METRICS)
    check_hasher(hasher)
    where = place(features)
    asked = None if queries is None else place(queries)
    from .. import metrics, shallow
    from ..data.vectors import held_out, open_vectors
    from ..search import nearest_neighbours

    found = shallow.load(hasher)
    database = open_vectors(where).array()
    if asked is None:
        if count >= len(database):
            raise ValueError(f"--count must be less than the {len(database):,} rows, got {count:,}")
        mine, database = held_out(database, count, seed)
    else:
        mine = open_vectors(asked).array()
    ks = [k for k in KS if k <= len(database)] or [len(database)]
    asked_codes, held_codes = found.encode(mine), found.encode(database)
    began = time.perf_counter()
    truth = nearest_neighbours(mine, database, max(ks), metric=metric)
    seconds = {"exact": time.perf_counter() - began}
    measured = metrics.code_recall(
        asked_codes,
        held_codes,
        mine,
        database,
        ks,
        bits=found.bits,
        metric=metric,
        candidates=candidates,
        truth=truth,
    )
    times = {**seconds, **measured.seconds}
    result: dict[str, Any] = {
        "hasher": str(hasher),
        "method": found.name,
        "bits": found.bits,
        "metric": metric,
        "queries": len(mine),
        "database": len(database),
        "candidates": candidates,
        "recall": {"codes": measured.codes, "reranked": measured.reranked},
        "ms_per_query": {name: 1000 * value / len(mine) for name, value in times.items()},
    }
    if as_json:
        print_json(result)
        return
    _print(result, ks)


def _print(result: dict[str, Any], ks: list[int]) -> None:
    out = console(False)
    sides = result["recall"]
    title = (
        f"{result['method']}, {result['bits']} bits: {result['queries']:,} queries against "
        f"{result['database']:,} vectors, {result['metric'].replace('_', ' ')}"
    )
    rows = [(f"recall@{k}", sides["codes"][k], sides["reranked"][k]) for k in ks]
    times = result["ms_per_query"]
    widest = result["candidates"] * max(ks)
    out.print(table(title, ("", "codes", f"re-ranked, {result['candidates']} k codes"), rows))
    out.print()
    words = {
        "exact": "exact neighbours in float64",
        "codes": f"codes, the first {max(ks)}",
        "reranked": f"codes, {min(widest, result['database']):,} re-ranked",
    }
    lines = [(words[name], times[name]) for name in words]
    out.print(table("milliseconds per query, all queries at once", ("search", "ms"), lines))
    if max(ks) < max(KS):
        say(out, f"note: the database has {result['database']:,} vectors, so k ends there")
