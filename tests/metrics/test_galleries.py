"""Evaluation of galleries: images without a label, lists of labels, and queries found again."""

import numpy as np
import pytest

from semicon_fast import metrics
from semicon_fast.search import pack_codes
from semicon_fast.search.gallery import Gallery

BITS = 12


def gallery(labels, seed=0, names=None, prefix="a"):
    codes = pack_codes(np.random.default_rng(seed).standard_normal((len(labels), BITS)))
    return Gallery(codes, BITS, names or [f"/{prefix}/{i}.png" for i in range(len(labels))], labels)


def naive(queries, database, relevant, exclude=None):
    """mAP by definition from relevance (Q, N); ties by position."""
    values = []
    for q in range(len(queries.codes)):
        distances = np.unpackbits(queries.codes[q] ^ database.codes, axis=1).sum(1)
        order = np.argsort(distances, kind="stable")
        hits = relevant[q][order[order != (-1 if exclude is None else exclude[q])]]
        found = hits.cumsum() / np.arange(1, len(hits) + 1)
        values.append((hits * found).sum() / max(1, hits.sum()))
    return np.mean(values)


def test_images_without_a_label_are_no_class_of_their_own():
    queries = gallery(["cat", "", "dog", "", "cat"], 0, prefix="q")
    database = gallery(["", "cat", "dog", "", "", "cat", "dog", "cat"], 1)
    found = metrics.evaluate_galleries(queries, database)
    kept = Gallery(queries.codes[[0, 2, 4]], BITS, ["a", "b", "c"], ["cat", "dog", "cat"])
    relevant = np.array([[a == b for b in database.labels] for a in kept.labels])
    assert found["metrics"]["mAP"] == pytest.approx(naive(kept, database, relevant))
    assert found["metrics"]["queries"] == 3 and found["metrics"]["database"] == 8
    assert (found["unlabelled_queries"], found["unlabelled_database"]) == (2, 3)
    assert found["queries_in_database"] == found["left_out"] == 0


@pytest.mark.parametrize("side", [0, 1])
def test_galleries_without_any_label_are_refused(side):
    pair = [gallery(["cat", ""]), gallery(["cat", ""])]
    pair[side] = gallery(["", ""])
    with pytest.raises(ValueError, match=f"no image of the {('queries', 'database')[side]} has a"):
        metrics.evaluate_galleries(*pair)


def test_lists_of_labels_are_relevant_where_they_share_one():
    """As text, "1 1 0" and "0 1 0" are two classes; as lists of labels they share the second."""
    random = np.random.default_rng(3)
    sets = random.random((30, 3)) < 0.4
    sets[sets.sum(1) == 0, 0] = True
    texts = [("\t" if i % 7 == 0 else " ").join(str(int(v)) for v in r) for i, r in enumerate(sets)]
    queries, database = gallery(texts[:8], 0, prefix="q"), gallery([*texts[8:], ""], 1)
    found = metrics.evaluate_galleries(queries, database)
    shared = np.array([[(a & b).any() for b in [*sets[8:], sets[0] & False]] for a in sets[:8]])
    assert found["metrics"]["mAP"] == pytest.approx(naive(queries, database, shared))
    assert found["unlabelled_database"] == 1
    with pytest.raises(ValueError, match="equally many for every image, got 2 and 3"):
        metrics.evaluate_galleries(gallery(["0 1"]), gallery(["0 1 0"]))


def test_names_that_look_like_lists_among_others_are_names():
    labels = ["0 1", "1 1", "bird", "0"]
    found = metrics.evaluate_galleries(gallery(labels), gallery(labels, 1, prefix="b"))
    relevant = np.eye(4, dtype=bool)
    assert found["metrics"]["mAP"] == pytest.approx(
        naive(gallery(labels), gallery(labels, 1), relevant)
    )


def test_queries_that_are_in_the_database_are_counted_and_can_be_left_out():
    labels = list("abcab" * 4)
    database = gallery(labels)
    chosen = [17, 3, 8]
    names = [database.images[i] for i in chosen] + ["/elsewhere/0.png"]
    codes = np.concatenate([database.codes[chosen], gallery(["a"], 5).codes])
    queries = Gallery(codes, BITS, names, [labels[i] for i in chosen] + ["a"])
    relevant = np.array([[a == b for b in labels] for a in queries.labels])
    found = metrics.evaluate_galleries(queries, database)
    assert (found["queries_in_database"], found["left_out"]) == (3, 0)
    assert found["metrics"]["mAP"] == pytest.approx(naive(queries, database, relevant))
    left = metrics.evaluate_galleries(queries, database, leave_one_out=True)
    assert (left["queries_in_database"], left["left_out"]) == (3, 3)
    wanted = naive(queries, database, relevant, [*chosen, -1])
    assert left["metrics"]["mAP"] == pytest.approx(wanted)
    assert wanted < found["metrics"]["mAP"]


def test_a_gallery_against_itself_is_leave_one_out():
    labels = ["a", "b", "", "a", "b", "a", "", "b"]
    both = gallery(labels)
    kept = [i for i, label in enumerate(labels) if label]
    queries = Gallery(both.codes[kept], BITS, ["x"] * len(kept), [labels[i] for i in kept])
    relevant = np.array([[labels[i] == other for other in labels] for i in kept])
    found = metrics.evaluate_galleries(both, both, leave_one_out=True)
    assert found["metrics"]["mAP"] == pytest.approx(naive(queries, both, relevant, kept))
    assert (found["left_out"], found["unlabelled_queries"]) == (6, 2)


def test_a_query_that_the_database_has_twice_cannot_be_left_out():
    database = gallery(["a", "a", "b", "b"], names=["x", "y", "x", "y2"])
    assert metrics.evaluate_galleries(database, database)["queries_in_database"] == 4
    with pytest.raises(ValueError, match="holds it once; x is in it more than once"):
        metrics.evaluate_galleries(database, database, leave_one_out=True)
    others = gallery(["a"], names=["y"])
    assert metrics.evaluate_galleries(others, database, leave_one_out=True)["left_out"] == 1


def test_galleries_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="the queries have 12 bits, the database 8"):
        metrics.evaluate_galleries(
            gallery(["a"]), Gallery(np.zeros((1, 1), np.uint8), 8, ["x"], ["a"])
        )
