"""Pictures of a run, examples with their hits, and two images explained."""

import numpy as np
import pytest

from semicon_fast import report
from semicon_fast.data.decode import decode
from semicon_fast.search import HammingIndex, unpack_codes
from semicon_fast.training import Result


def test_examples_are_queries_of_each_class_and_their_hits(run):
    examples = report.of_run(run, hits=5)
    assert len(examples.images) == 2 and len(set(examples.labels)) == 2
    index = HammingIndex(run.bits)
    index.add(run.database)
    for row, label in enumerate(examples.labels):
        hits = examples.hits[row]
        position = run.data.query.classes.index(label)
        query = int((run.data.query.labels == position).nonzero()[0])
        near, ids = index.search(run.queries[query : query + 1], 5)
        assert [h.distance for h in hits] == near[0].tolist()
        assert [h.name for h in hits] == [run.data.database.identifier(int(i)) for i in ids[0]]
        assert all(sum(h.parts) == h.distance and h.right == (h.label == label) for h in hits)


def test_every_kind_is_made_and_tabled(run, evaluation, trained):
    examples = report.of_run(run)
    pictures = dict(report.run_pictures(run, examples, evaluation, [Result.of(trained)]))
    assert list(pictures) == list(report.KINDS)
    assert all(picture.table.rows for picture in pictures.values())
    shares = [row[-1] for row in pictures["outputs"].table.rows if row[0] == "global"]
    assert sum(shares) == pytest.approx(1)
    bits = {row[1] for row in pictures["lengths"].table.rows}
    assert bits == {run.bits}
    used = {row[1]: row[3] for row in pictures["parts"].table.rows if row[2] == "cumulative"}
    assert used["global+part1+part2"] == pytest.approx(list(evaluation.values())[-1]["mAP"])


def test_an_unknown_kind_is_refused(run, evaluation):
    with pytest.raises(ValueError, match="kind must be among maps, .*, got 'nose'"):
        list(report.run_pictures(run, report.of_run(run), evaluation, kinds=["nose"]))


def test_files_are_examples_without_right_and_wrong(run, trained, evaluation):
    path = next((trained.parent / "photos" / "test").rglob("*.png"))
    examples = report.of_paths(run, [path])
    assert examples.names == [path.name] and examples.hits[0][0].right is None
    grid = report.pictures.grid_picture(run, examples)
    assert not grid.axes[1].spines["left"].get_visible()


def test_an_explanation_splits_the_distance(run, trained):
    paths = sorted((trained.parent / "photos" / "test").rglob("*.png"))
    images = [decode(paths[0]), decode(paths[-1])]
    found = report.explain(run.model, images, ["a", "b"])
    codes = [np.frombuffer(bytes.fromhex(code), np.uint8)[None] for code in found.codes]
    bits = [unpack_codes(code, run.bits)[0] for code in codes]
    for name, group in run.model.bit_groups.items():
        differing = int((bits[0][group] != bits[1][group]).sum())
        assert found.parts[name] == (differing, group.stop - group.start)
    assert found.distance == sum(d for d, _ in found.parts.values())
    same = report.explain(run.model, [images[0], images[0]], ["a", "a"])
    assert same.distance == 0 and same.to_dict()["parts"]["global"] == {"distance": 0, "bits": 6}
