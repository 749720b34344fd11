"""`semicon-fast duplicates`: find the images of a gallery whose codes are the same or almost.

Images whose codes differ in at most RADIUS bits are connected; connected images are a group. The
page shows the largest groups, --csv writes all of them.

Examples:
  semicon-fast duplicates gallery
  semicon-fast duplicates gallery --radius 4 --csv groups.csv
"""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import atomic_write, check_file
from ..search.gallery_files import read_about
from ..text import printable
from .arguments import hasher_file
from .common import console, facts_of, print_json, say, table
from .options import AsJson, GalleryFolder

if TYPE_CHECKING:
    import numpy as np

    from ..search import Groups
    from ..search.gallery import Gallery

# Groups that are printed, and images of a group on the page and in a line.
PRINTED, MEMBERS = 10, 12
LONGEST_NAME = 80


def duplicates(
    gallery: GalleryFolder,
    radius: Annotated[
        int, typer.Option(min=0, help="Most bits in which two near-duplicates differ.")
    ] = 2,
    shown: Annotated[
        int, typer.Option("--groups", min=0, help="Number of groups on the page, largest first.")
    ] = 100,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Page to write; by default duplicates.html in the gallery's folder."
        ),
    ] = None,
    groups_file: Annotated[
        Path | None,
        typer.Option("--csv", help="Write all groups to this file: group, id, image, distance."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    about = read_about(gallery)
    target = page or gallery / "duplicates.html"
    for file in (target, groups_file):
        if file is not None:
            check_file(file)
    model = about.get("model")
    of_vectors = bool(model) and hasher_file(Path(str(model)))
    from ..search import groups_within
    from ..search.gallery import Gallery, open_index

    opened = Gallery.open(gallery)
    found = groups_within(open_index(gallery, opened), radius)
    distances = _to_first(opened, found)
    order = _largest_first(found)
    if groups_file is not None:
        _write(groups_file, opened, found, distances, order)
    summary = {
        "gallery": str(gallery),
        "radius": radius,
        "images": len(opened),
        "groups": len(order),
        "images_in_groups": len(found.ids),
        "report": str(target),
        "csv": None if groups_file is None else str(groups_file),
    }
    _write_page(target, opened, found, distances, order[:shown], summary, not of_vectors)
    if as_json:
        print_json({**summary, "largest": _largest(opened, found, order)})
        return
    out = console(False)
    sentence = f"{len(found.ids):,} of {len(opened):,} images are in {len(order):,} groups"
    say(out, f"{sentence} of near-duplicates (at most {radius} of {opened.bits} bits differ)")
    if order:
        rows = [
            (group["size"], ", ".join(printable(n, LONGEST_NAME) for n in group["images"]))
            for group in _largest(opened, found, order)
        ]
        out.print(table("the largest groups", ("images", "the first of them"), rows))
    say(out, "page of the groups: ", (target, "bold"))


def _largest_first(found: "Groups") -> list[int]:
    """Numbers of the groups, by size; of equal size in order."""
    sizes = found.lims[1:] - found.lims[:-1]
    order: list[int] = (-sizes).argsort(kind="stable").tolist()
    return order


def _to_first(gallery: "Gallery", found: "Groups") -> "np.ndarray[Any, Any]":
    """Distance of each code in a group to the first of its group, int64 (T,)."""
    import numpy as np

    first = np.repeat(found.ids[found.lims[:-1]], np.diff(found.lims))
    result = np.empty(len(found.ids), np.int64)
    step = 1 << 20
    for start in range(0, len(result), step):
        rows = slice(start, start + step)
        differing = gallery.codes[found.ids[rows]] ^ gallery.codes[first[rows]]
        result[rows] = np.unpackbits(differing, axis=1).sum(1)
    return result


def _members(found: "Groups", group: int) -> slice:
    return slice(int(found.lims[group]), int(found.lims[group + 1]))


def _largest(gallery: "Gallery", found: "Groups", order: list[int]) -> list[dict[str, Any]]:
    """The largest groups: size, first ids and their names."""
    largest = []
    for group in order[:PRINTED]:
        members = found.ids[_members(found, group)]
        ids = members[:MEMBERS].tolist()
        names = [gallery.images[i] for i in ids]
        largest.append({"size": len(members), "ids": ids, "images": names})
    return largest


def _write(
    path: Path,
    gallery: "Gallery",
    found: "Groups",
    distances: "np.ndarray[Any, Any]",
    order: list[int],
) -> None:
    with atomic_write(path, "w") as file:
        rows = csv.writer(file)
        rows.writerow(("group", "id", "image", "label", "distance"))
        for number, group in enumerate(order):
            members = _members(found, group)
            ids, near = found.ids[members].tolist(), distances[members].tolist()
            for i, distance in zip(ids, near, strict=True):
                rows.writerow((number, i, gallery.images[i], gallery.labels[i], distance))


def _write_page(
    path: Path,
    gallery: "Gallery",
    found: "Groups",
    distances: "np.ndarray[Any, Any]",
    shown: list[int],
    summary: dict[str, Any],
    pictures: bool,
) -> None:
    from .. import report
    from ..training import command, versions

    where = [_members(found, group) for group in shown]
    groups = report.duplicate_groups(
        [found.ids[members].tolist() for members in where],
        [distances[members].tolist() for members in where],
        gallery.images,
        gallery.labels,
        members=MEMBERS,
        pictures=pictures,
    )
    left_out = summary["groups"] - len(groups)
    sentences = [
        f"Images whose codes of {gallery.bits} bits differ in at most {summary['radius']} bits are "
        "connected, and connected images are a group.",
    ]
    if left_out:
        sentences.append(f"The largest {len(groups):,} of {summary['groups']:,} groups are shown.")
    rows = [[summary["images"], summary["groups"], summary["images_in_groups"]]]
    content = report.Page(
        "Near-duplicates",
        sentences,
        {"Found": (["images", "groups", "images in groups"], rows)},
        groups=groups,
        facts=facts_of({"command": command(), "versions": versions()}),
    )
    report.write(content, path)
