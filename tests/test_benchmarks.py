"""The benchmarks run wherever the library does, with the peers that are there."""

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "hamming_rank.py"


@pytest.fixture
def run(monkeypatch):
    """Runs a script as `python script.py` does, but in this process, which has torch already."""
    threads = torch.get_num_threads()

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(script), "--quick", *arguments])
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
        monkeypatch.syspath_prepend(str(script.parent))
        runpy.run_path(str(script), run_name="__main__")

    yield run
    torch.set_num_threads(threads)


def test_centers_give_a_row_a_kind_at_the_distance_that_is_demanded(tmp_path, monkeypatch):
    rows = tmp_path / "rows.csv"
    arguments = ["--sizes", "8,5", "--sweeps", "1", "--csv", str(rows)]
    monkeypatch.setattr(sys, "argv", ["centers.py", *arguments])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(SCRIPT.with_name("centers.py")), run_name="__main__")
    found = list(csv.DictReader(rows.open()))
    assert [row["kind"] for row in found] == ["random", "greedy", "semantic"]
    assert int(found[2]["least"]) >= int(found[2]["demanded"]) == 4


def test_recall_of_any_vectors_gives_a_row_a_hasher_and_a_table(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    threads = torch.get_num_threads()
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((200, 16)))
    rows = tmp_path / "recall.csv"
    arguments = ["--queries", "20", "--methods", "lsh", "--bits", "8", "32", "--csv", str(rows)]
    monkeypatch.setattr(sys, "argv", ["recall.py", str(tmp_path / "x.npy"), *arguments])
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    runpy.run_path(str(SCRIPT.with_name("recall.py")), run_name="__main__")
    torch.set_num_threads(threads)
    found = {row["bits"]: row for row in csv.DictReader(rows.open())}
    assert float(found["0"]["recall@1"]) == float(found["0"]["recall@100"]) == 1
    assert 0 < float(found["8"]["recall@10"]) < float(found["32"]["recall@10"]) < 1
    assert float(found["8"]["recall@10_reranked"]) > float(found["8"]["recall@10"])
    assert found["8"]["codes_ms"] == "nan" and found["8"]["vectors"] == "200"
    import tables

    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert "| lsh | 8 | " in tables.recall() and "ms a query" not in tables.recall()


def test_hashers_of_features_give_a_row_a_length_beside_float_search(tmp_path, monkeypatch):
    draws = np.random.default_rng(0)
    middles, arrays = 3 * draws.normal(size=(4, 16)), {}
    for side, rows in (("train", 60), ("test", 20)):
        labels = np.arange(rows) % 4
        arrays[f"{side}_labels"] = labels
        arrays[f"{side}_features"] = (middles[labels] + draws.normal(size=(rows, 16))).astype("f4")
    np.savez(tmp_path / "four.npz", **arrays)
    options = ["--hashers", "lsh", "sdh", "--bits", "8", "--csv", str(tmp_path / "rows.csv")]
    monkeypatch.setattr(sys, "argv", ["shallow.py", str(tmp_path / "four.npz"), *options])
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    runpy.run_path(str(SCRIPT.with_name("shallow.py")), run_name="__main__")
    found = {(r["hasher"], r["bits"]): r for r in csv.DictReader((tmp_path / "rows.csv").open())}
    assert set(found) == {("cosine of the features", "float"), ("lsh", "8"), ("sdh", "8")}
    assert all(float(row["mAP"]) > 0.5 and row["data"] == "four" for row in found.values())
    import tables

    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "rows.csv").rename(tmp_path / "shallow.csv")
    assert "| features of | hasher | 8 bits | float cosine |" in tables.shallow()
    assert tables.shallow().splitlines()[2].startswith("| four | `lsh` | 0.")


def test_searches_give_a_row_an_engine_and_a_picture(tmp_path):
    command = [sys.executable, str(SCRIPT), "--quick", "--threads", "1", "--only", "12 bits"]
    command += ["--csv", f"{tmp_path}/rows.csv", "--plot", f"{tmp_path}/p.svg"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    engines = [row["engine"] for row in rows]
    assert "semicon_fast" in engines and set(engines) <= {"semicon_fast", "faiss"}
    assert all(float(row["Gpairs_per_s"]) > 0 and "--only" in row["command"] for row in rows)
    assert "inner loop alone" in (tmp_path / "p.svg").read_text()


@pytest.mark.parametrize(
    "case, peer", [("full ranking", "torch.argsort"), ("mAP", "released loop")]
)
def test_rankings_and_evaluations_agree_with_their_peers(run, case, peer, tmp_path, capsys):
    run(SCRIPT, "--threads", "1", "--only", case, "--csv", str(tmp_path / "rows.csv"))
    assert "left out" not in capsys.readouterr().out
    engines = {row["engine"] for row in csv.DictReader((tmp_path / "rows.csv").open())}
    assert peer in engines and len(engines) >= 3


def test_the_table_of_a_device_is_made_row_by_row_and_goes_to_the_readme(
    run, tmp_path, monkeypatch
):
    rows = tmp_path / "hamming_rank_cuda.csv"
    script = SCRIPT.with_name("hamming_cuda.py")
    run(script, "--device", "cpu", "--only", "64 bits", "--csv", str(rows))
    found = list(csv.DictReader(rows.open()))
    assert {"torch matmul + topk", "semicon_fast, expected", "semicon_fast, host arrays"} <= {
        row["engine"] for row in found
    }
    assert all(float(row["Gpairs_per_s"]) > 0 and "--only" in row["command"] for row in found)
    import tables

    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    table = tables.hamming_cuda()
    assert "| 1 of 1 billion, 64 bits, k = 100 |" in table and "% of memory" in table
    assert "torch matmul + topk" in table


def test_a_picture_of_nothing_is_refused(run, tmp_path):
    options = ["--threads", "1", "--only", "one query", "--plot", str(tmp_path / "p.svg")]
    with pytest.raises(SystemExit, match="none of the plotted cases was measured"):
        run(SCRIPT, *options)
    assert not (tmp_path / "p.svg").exists()


@pytest.mark.slow
def test_what_parts_mean_is_measured_for_every_attention(tmp_path):
    script = SCRIPT.with_name("parts.py")
    command = [sys.executable, str(script), "--quick", "--runs", str(tmp_path / "runs")]
    done = subprocess.run([*command, "--csv", str(tmp_path / "rows.csv")], capture_output=True)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert {row["attention"] for row in rows} == {"sem", "erase", "none"} and len(rows) == 3 * 82


def test_stages_of_the_pipeline_agree_with_the_released_formulation(run, tmp_path):
    """Codes and losses are compared before anything is timed; one that differs stops the script."""
    script = SCRIPT.with_name("pipeline.py")
    run(script, "--threads", "1", "--csv", str(tmp_path / "rows.csv"))
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    stages = {"loader", "forward", "training step", "encode", "outer iteration"}
    for engine in ("released", "semicon_fast"):
        assert {row["stage"] for row in rows if row["engine"] == engine} == stages
    assert all(float(row["images_per_s"]) > 0 and "--quick" in row["command"] for row in rows)
    assert [row["engine"] for row in rows if row["share_of_bare"] == "1.0000"] == ["bare decode"]
