"""A bar chart of the results of hamming_rank.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

# Distinguishable by lightness as well as by colour.
SHADES = ["#08306b", "#e6842a", "#7fbf7b", "#9e9ac8", "#bdbdbd", "#525252"]


def plot(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Billion pairs per second in the cases with 4 million codes, one bar per engine."""
    rows = [row for row in rows if "queries, k = " in row["case"]]
    if not rows:
        raise SystemExit("none of the plotted cases was measured; see --only")
    cases = sorted({row["case"] for row in rows}, key=_order)
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    engines.sort(key=lambda engine: engine != "semicon_fast")
    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(cases) + 1.2), layout="constrained")
    limits = {row["case"]: float(row["loop_Gpairs_per_s"]) for row in rows}
    for place, case in enumerate(cases):
        own = [row for row in rows if row["case"] == case]
        own.sort(key=lambda row: engines.index(row["engine"]))
        height = 0.8 / len(own)
        for i, row in enumerate(own):
            axes.barh(
                place - 0.4 + (i + 0.5) * height,
                float(row["Gpairs_per_s"]),
                height,
                color=SHADES[engines.index(row["engine"]) % len(SHADES)],
            )
        axes.plot([limits[case]] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1)
    handles = [
        *(pyplot.Rectangle((0, 0), 1, 1, color=SHADES[i % 6]) for i in range(len(engines))),
        pyplot.Line2D([], [], color="black", linewidth=1),
    ]
    axes.legend(handles, [*engines, "inner loop alone"], fontsize="small")
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("billion pairs a second")
    axes.set_title(f"{rows[0]['device']}, {rows[0]['threads']} threads, 4 million codes")
    with pyplot.rc_context({"svg.hashsalt": "semicon_fast", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _order(case: str) -> tuple[int, ...]:
    return tuple(int(word.rstrip(",")) for word in case.split() if word.rstrip(",").isdigit())
