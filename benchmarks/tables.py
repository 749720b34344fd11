"""Generates README's tables, and the figure of the Hamming searches, from results/*.csv.

Each block between markers in README.md is replaced by its table.

python benchmarks/tables.py            # rewrite README.md
python benchmarks/tables.py --check    # exit 1 if README.md is not up to date
"""

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hamming_cases import CASES
from hamming_cuda_cases import PROBLEMS
from harness import README, RESULTS, markdown_table, read_rows

from semicon_fast.files import atomic_write
from semicon_fast.shallow import NAMES
from semicon_fast.studies import dsh
from semicon_fast.training.sides import SYMMETRIC

# Folder of tables that `semicon-fast study run` wrote, each called by its study.
STUDIES = "studies"

# mAP that DSH's supplement gives: of model M1 in Table 3, and at 48 bits in Table 4.
DSH_MAP = {"12": dsh.TABLE3[(1,)][0][0], "48": dsh.TABLE4_DSH}


def _minutes(row: dict[str, str]) -> str:
    return f"{float(row['training seconds']) / 60:.0f} min"


def cifar10() -> str:
    rows = [
        r for r in read_rows(RESULTS / "readme-cifar10.csv") if r["database codes"] == SYMMETRIC
    ]
    rows.sort(key=lambda r: (r["method"], int(r["bits"])))
    body = []
    for r in rows:
        score, within = DSH_MAP.get(r["bits"]), dsh.TABLE2["scratch", int(r["bits"])][0]
        body.append(
            [f"`{r['row']}`", r["bits"], r["mAP"], r["mAP_stable"]]
            + [f"{score:.4f}" if score else "-", r["precision_within_radius_2"], f"{within:.4f}"]
            + [_minutes(r)]
        )
    columns = ["preset", "bits", "mAP", "ties by position", "paper"]
    columns += ["precision within radius 2", "paper", "training"]
    return markdown_table(columns, body)


def photographs() -> str:
    """A line for each data set, method and length, with both sides of the database."""
    rows = read_rows(RESULTS / "readme-photographs.csv")
    found: dict[tuple[str, str, int], dict[str, str]] = {}
    for r in rows:
        key = r["data"], r["row"].split("-")[1], int(r["bits"])
        side = "encoded" if r["database codes"] == SYMMETRIC else "learned"
        found.setdefault(key, {"training": _minutes(r)})[side] = r["mAP"]
    body = [
        [data, f"`{method}`", str(bits), line["learned"], line["encoded"], line["training"]]
        for (data, method, bits), line in sorted(found.items())
    ]
    columns = ["photographs", "method", "bits", "mAP, learned codes or centers", "mAP, encoded"]
    return markdown_table([*columns, "training"], body)


def study(name: str) -> str:
    """The table.csv of a study, without what is empty in every row."""
    rows = read_rows(RESULTS / STUDIES / f"{name}.csv")
    columns = [c for c in rows[0] if c not in ("row", "seeds") and any(r[c] for r in rows)]
    return markdown_table(columns, [[r[c] for c in columns] for r in rows])


def shallow() -> str:
    """For each data set and hasher, mAP by the number of bits."""
    rows = read_rows(RESULTS / "shallow.csv")
    lengths = sorted({int(r["bits"]) for r in rows if r["bits"] != "float"})
    body = []
    for data in dict.fromkeys(r["data"] for r in rows):
        scores = {(r["hasher"], r["bits"]): r["mAP"] for r in rows if r["data"] == data}
        exact = next(score for (_, bits), score in scores.items() if bits == "float")
        for name in (n for n in NAMES if any(n == hasher for hasher, _ in scores)):
            found = [scores.get((name, str(bits)), "-") for bits in lengths]
            body.append([data, f"`{name}`", *found, exact])
    columns = ["features of", "hasher", *(f"{bits} bits" for bits in lengths), "float cosine"]
    return markdown_table(columns, body)


def _short(value: str) -> str:
    return f"{float(value):.0f}" if float(value) >= 100 else f"{float(value):.3g}"


def attention() -> str:
    rows = read_rows(RESULTS / "attention.csv")
    key = ("case", "batch", "dtype", "pages", "device")
    released = {tuple(r[c] for c in key): r for r in rows if r["engine"] == "released"}
    body = []
    for own in rows:
        if own["engine"] == "semicon_fast":
            old = released[tuple(own[c] for c in key)]
            body.append(
                [own["case"], own["batch"], own["pages"]]
                + [f"{_short(r['milliseconds'])} ms" for r in (old, own)]
                + [f"{float(own['released_over_it']):.2f}"]
                + [f"{_short(r['peak_MiB'])} MiB" for r in (old, own)]
            )
    columns = ["what", "images", "pages", "released", "semicon_fast", "ratio", "memory, released"]
    return markdown_table([*columns, "memory, semicon_fast"], body)


def pipeline() -> str:
    rows = read_rows(RESULTS / "pipeline.csv")
    key = ("stage", "device", "threads")
    body = []
    for own in (r for r in rows if r["engine"] == "semicon_fast"):
        rivals = [r for r in rows if [r[c] for c in key] == [own[c] for c in key]]
        rate = {r["engine"]: f"{float(r['images_per_s']):.3g}" for r in rivals}
        share, minutes = float(own["share_of_bare"]), float(own["full_schedule_minutes"])
        body.append(
            [own["stage"], own["batch"], rate["released"], f"{float(own['images_per_s']):.3g}"]
            + [f"{float(own['over_released']):.2f}"]
            + [f"{share:.2f}" if share == share else "-"]
            + [f"{minutes / 60:.1f} h" if minutes == minutes else "-"]
        )
    columns = ["stage", "batch", "released, images/s", "semicon_fast, images/s", "ratio"]
    return markdown_table([*columns, "share of bare decoding", "CUB's schedule"], body)


def hamming() -> str:
    """For each case our engines, each compared with the fastest other library."""
    body = []
    for case in CASES:
        rows = [r for r in read_rows(RESULTS / "hamming_rank.csv") if r["case"] == case.name]
        peers = [r for r in rows if not r["engine"].startswith("semicon_fast")]
        peer = max(peers, key=_rate)
        for own in (r for r in rows if r not in peers):
            way = own["engine"].removeprefix("semicon_fast")
            body.append([case.name + way, *_own(own), *_beside(own, peer)])
    columns = ["what", "time", "Gpairs/s", "fastest peer", "Gpairs/s", "ratio"]
    return markdown_table(columns, body)


def _parts(measure: str) -> dict[tuple[str, str, str], float]:
    """(attention, of, part) -> value."""
    rows = [r for r in read_rows(RESULTS / "parts.csv") if r["measure"] == measure]
    return {(r["attention"], r["of"], r["part"]): float(r["value"]) for r in rows}


def parts() -> str:
    """For each part the best matching map, and the information in each group of bits."""
    share, area, iou = (_parts(f"overlap {name}") for name in ("share", "area", "iou"))
    known = _parts("information")
    groups = list(dict.fromkeys(group for _, group, _ in known))
    body = []
    for attention in dict.fromkeys(a for a, _, _ in known):
        for part in dict.fromkeys(p for a, _, p in known if a == attention):
            maps = [m for a, m, p in share if (a, p) == (attention, part)]
            best = max(maps, key=lambda m: share[attention, m, part])
            key = attention, best, part
            body.append(
                [attention, part, best, f"{share[key] / area[key]:.1f}", f"{iou[key]:.2f}"]
                + [f"{max(0.0, known[attention, group, part]):.2f}" for group in groups]
            )
    columns = ["attention", "part", "map with most of it", "times its area", "IoU"]
    return markdown_table([*columns, *(f"known by {group}" for group in groups)], body)


def maps() -> str:
    """Similarity of two attention maps of an image, and mAP of the codes."""
    cosine, iou = _parts("likeness cosine"), _parts("likeness iou")
    body = []
    for attention in dict.fromkeys(a for a, _, _ in cosine):
        pairs = [key for key in cosine if key[0] == attention]
        means = [sum(t[k] for k in pairs) / len(pairs) for t in (cosine, iou)]
        scores = [f"{v:.4f}" for (a, _, _), v in _parts("mAP").items() if a == attention]
        body.append([attention, *(f"{mean:.2f}" for mean in means), *scores])
    columns = ["attention", "cosine of two maps", "IoU of their upper halves"]
    return markdown_table([*columns, "mAP, asymmetric", "mAP, symmetric"], body)


def hamming_cuda() -> str:
    """For each case on a GPU our engines, their share of the limit, and the fastest library."""
    measured = read_rows(RESULTS / "hamming_rank_cuda.csv")
    if not measured:
        return "No CUDA device has measured these yet; `make gpu` does."
    body = []
    for problem in PROBLEMS:
        rows = [r for r in measured if r["case"] == problem.name]
        peers = [r for r in rows if not r["engine"].startswith("semicon_fast")]
        for own in (r for r in rows if r not in peers):
            way = own["engine"].removeprefix("semicon_fast")
            share = own[f"share_of_{'bandwidth' if problem.bound == 'memory' else 'loop'}"]
            limit = "-" if share == "nan" else f"{100 * float(share):.0f} % of {problem.bound}"
            beside = _beside(own, max(peers, key=_rate)) if peers else ["-", "-", "-"]
            body.append([problem.name + way, own["isa"] or "-", *_own(own), limit, *beside])
    columns = ["what", "path", "time", "Gpairs/s", "limit", "fastest peer", "Gpairs/s", "ratio"]
    devices = ", ".join(sorted({r["device"] for r in measured}))
    return f"On {devices}:\n\n" + markdown_table(columns, body)


def _rate(row: dict[str, str]) -> float:
    return float(row["Gpairs_per_s"])


def _own(row: dict[str, str]) -> list[str]:
    return [f"{_short(row['milliseconds'])} ms", f"{_rate(row):.3g}"]


def _beside(own: dict[str, str], peer: dict[str, str]) -> list[str]:
    return [peer["engine"], f"{_rate(peer):.2g}", f"{_rate(own) / _rate(peer):.3g}"]


def recall() -> str:
    """Recall of codes alone and re-ranked, beside faiss's exact search; ms where it was timed."""
    rows = [r for r in read_rows(RESULTS / "recall.csv") if r["bits"] != "0"]
    rows.sort(key=lambda r: (r["features"], int(r["vectors"]), r["hasher"], int(r["bits"])))
    timed = any(r["codes_ms"] != "nan" for r in rows)
    body = []
    for r in rows:
        sides = [r[f"recall@{k}{side}"] for side in ("", "_reranked") for k in (1, 10, 100)]
        times = [r["codes_ms"], r["reranked_ms"], r["exact_ms"]] if timed else []
        body.append([r["hasher"], r["bits"], *sides, *(f"{float(t):.3g}" for t in times)])
    columns = ["hasher", "bits", *(f"recall@{k}" for k in (1, 10, 100))]
    columns += [f"@{k} re-ranked" for k in (1, 10, 100)]
    columns += ["ms a query", "re-ranked", "faiss, exact"] if timed else []
    return markdown_table(columns, body)


TABLES: dict[str, Callable[[], str]] = {
    "cifar10": cifar10,
    "photographs": photographs,
    "shallow": shallow,
    "attention": attention,
    "hamming": hamming,
    "parts": parts,
    "maps": maps,
    "pipeline": pipeline,
    "hamming-cuda": hamming_cuda,
    **{
        f"{STUDIES}/{path.stem}": partial(study, path.stem)
        for path in sorted((RESULTS / STUDIES).glob("*.csv"))
    },
    "recall": recall,
}


def filled(text: str) -> str:
    """`text` with all tables generated again. Raises ValueError for an unknown marker."""
    for name in re.findall(r"<!-- table: (\S+) -->", text):
        if name not in TABLES:
            raise ValueError(f"README.md marks a table {name!r}; known are {sorted(TABLES)}")
    for name, make in TABLES.items():
        block = rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)"
        text = re.sub(block, lambda m, make=make: f"{m[1]}{make()}\n{m[2]}", text, flags=re.S)
    return text


def write(readme: Path) -> None:
    """Writes a README with all tables generated again."""
    new = filled(readme.read_text("utf-8"))
    with atomic_write(readme, "w") as file:
        file.write(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if check:
        old = README.read_text("utf-8")
        sys.exit(0 if old == filled(old) else "README.md's tables differ from benchmarks/results")
    write(README)
    from hamming_plot import plot

    plot(read_rows(RESULTS / "hamming_rank.csv"), RESULTS / "hamming_rank.svg")


if __name__ == "__main__":
    main()
