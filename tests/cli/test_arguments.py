"""Wrong arguments: one sentence each, before anything slow is imported.

All calls are made in one process, which says after each what has been imported.
"""

import json
import subprocess
import sys

import pytest

from semicon_fast.training import presets

HEAVY = ("torch", "torchvision", "torch._dynamo", "numpy", "matplotlib", "pyarrow", "fastapi")
COMMANDS = (
    "demo", "train", "encode", "index", "search", "explain", "serve", "evaluate", "visualize",
    "ensemble", "centers", "features", "fit", "recall", "info", "duplicates",
    "study", "study list", "study run", "study show",
)  # fmt: skip
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from semicon_fast.cli import app

calls, heavy = json.loads(sys.argv[1])
said = []
for arguments in calls:
    result = CliRunner().invoke(app, arguments)
    loaded = [name for name in heavy if name in sys.modules]
    said.append([result.exit_code, result.stdout, result.stderr, loaded])
print(json.dumps(said))
"""

TRAIN = ["train", "-o", "new", "--preset"]
STUDY = ["study", "run", "-o", "new"]
ENCODE = ["encode", "run", "photo.png", "-o"]
FIT = ["fit", "itq", "--bits", "8", "-o", "new"]
WRONG = [
    (["train", "-o", "new"], "say what to train"),
    ([*TRAIN, "cub-47"], "preset 'cub-47' does not exist; the nearest are cub-48"),
    ([*TRAIN, "cub-48"], "data set cub needs root"),
    ([*TRAIN, "cub-48", "--root", "nowhere"], "found nothing at nowhere"),
    ([*TRAIN, "cub-48", "--root", "photo.png"], "found a file at photo.png"),
    ([*TRAIN, "cub-48", "--data", "nothing"], "name must be one of cub,"),
    ([*TRAIN, "cub-48", "--set", "schedule.iteration=3"], "did you mean"),
    ([*TRAIN, "cub-48", "--set", "schedule.iterations=x"], "schedule.iterations"),
    ([*TRAIN, "cub-48", "--config", "c.json"], "not both"),
    ([*TRAIN, "cifar10-dsh-finetune-24", "--root", "."], "model.safetensors is not a file"),
    (["train", "-o", "new", "--config", "nowhere.json"], "--config nowhere.json does not exist"),
    (["train", "-o", "run", "--preset", "birdlets-48"], "output run holds a run already"),
    (["encode", "nowhere", "photo.png", "-o", "new"], "no model at nowhere"),
    (["encode", "run", "nothing", "-o", "new"], "nothing does not exist"),
    ([*ENCODE, "run"], "run exists already"),
    ([*ENCODE, "new", "--device", "gpu"], "--device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
    ([*ENCODE, "new", "--precision", "fp8"], "--precision must be one of fp32, bf16, fp16"),
    ([*ENCODE, "new", "--on-broken", "ask"], "--on-broken must be one of error, skip"),
    (["index", "nowhere"], "nowhere is no gallery: it holds no gallery.json"),
    (["index", "damaged"], "damaged is no readable gallery"),
    (["index", "newer"], "its format 99 is newer than this version reads"),
    (["search", "nowhere", "photo.png"], "nowhere is no gallery"),
    (["search", "gallery", "nothing"], "nothing does not exist"),
    (["search", "gallery", "empty"], "no image below empty"),
    (["search", "gallery", "photo.png", "--model", "nowhere"], "no model at nowhere"),
    (["search", "gallery", "photo.png", "--picture", "x.gif"], "must end in .png, .svg or .pdf"),
    (["search", "gallery", "photo.png", "--device", "tpu"], "--device must be auto"),
    (["search", "orphan", "photo.png"], "does not say what model made it; name one with --model"),
    (["duplicates", "nowhere"], "nowhere is no gallery: it holds no gallery.json"),
    (["duplicates", "gallery", "--report", "empty"], "could not write empty: it is a folder"),
    (["duplicates", "gallery", "--csv", "photo.png/x"], "could not write photo.png/x"),
    (["explain", "nowhere", "photo.png", "photo.png"], "no model at nowhere"),
    (["explain", "run", "no.png", "photo.png"], "no.png does not exist; ids are those of"),
    (["search", "retrained", "photo.png"], "is not the model that made this gallery's codes"),
    (["explain", "retrained", "0", "1"], "is not the model that made this gallery's codes"),
    (["explain", "gallery", "photo.png", "4"], "no id of gallery, which has 0 to 3"),
    (["explain", "run", "photo.png", "photo.png", "--picture", "x"], "must end in .png"),
    (["serve", "nowhere"], "nowhere is no gallery"),
    (["serve", "orphan"], "name one with --model; or add --no-model"),
    (["serve", "gallery", "--model", "nowhere"], "no model at nowhere"),
    (["serve", "retrained"], "made this gallery's codes: name the right one, or encode the images"),
    (["serve", "gallery", "--no-model", "--device", "tpu"], "--device must be auto"),
    (["evaluate"], "say what to evaluate"),
    (["evaluate", "--run", "run", "--queries", "gallery"], "not both"),
    (["evaluate", "--run", "run", "--database", "gallery"],
     "--database with --run must be one of learned, centers, encoded, got 'gallery'"),
    (["evaluate", "--run", "nowhere"], "nowhere holds no finished run: config.json is missing"),
    (["evaluate", "--run", "moved"], "root must be an existing folder, found nothing at gone"),
    (["evaluate", "--run", "run", "--denominator", "all"], "--denominator must be one of"),
    (["evaluate", "--run", "run", "--curve", "x.gif"], "must end in .png"),
    (["evaluate", "--queries", "gallery", "--database", "nowhere"], "nowhere is no gallery"),
    (["evaluate", "--queries", "other", "--database", "retrained"], "codes of different models"),
    (["visualize", "nowhere", "-o", "new"], "nowhere holds no finished run"),
    (["visualize", "run", "moved", "-o", "new"], "moved holds no finished run: result.json"),
    (["visualize", "moved", "-o", "new"], "found nothing at gone"),
    (["visualize", "run", "-o", "new", "--kind", "nose"], "--kind must be among maps,"),
    (["visualize", "run", "-o", "new", "--format", "gif"], "--format must be among png, svg"),
    (["ensemble", "run", "-o", "new"], "an ensemble needs at least 2 runs, got 1"),
    (["ensemble", "run", "nowhere", "-o", "new"], "nowhere holds no finished run"),
    (["ensemble", "run", "moved", "-o", "new"],
     "but data.name is 'birdlets' in run and 'folder' in moved"),
    (["ensemble", "run", "run", "-o", "moved"], "output moved holds a run already"),
    (["centers"], "give a file to show, or --classes and --bits to make a codebook"),
    (["centers", "nowhere"], "centers file nowhere does not exist"),
    (["centers", "photo.png", "--bits", "8"], "not both"),
    (["centers", "--classes", "4", "--bits", "8", "--kind", "x"],
     "--kind must be one of semantic, hadamard"),
    (["centers", "--classes", "4", "--bits", "8", "--similarity", "x"], "is for --kind semantic"),
    (["centers", "--classes", "4", "--bits", "8", "-o", "x"], "--output must end in .safetensors"),
    (["features", "nowhere", "photo.png", "-o", "f.npz"], "no model at nowhere"),
    (["features", "run", "nothing", "-o", "f.npz"], "nothing does not exist"),
    (["features", "run", "photo.png", "-o", "f.npy"], "--output must end in .npz, got f.npy"),
    (["features", "run", "photo.png", "-o", "there.npz"], "there.npz exists already"),
    ([*FIT, "nowhere.npy"], "nowhere.npy does not exist"),
    ([*FIT, "photo.png"], "photo.png must be a file of vectors, .npy, .npz, .parquet, .safe"),
    ([*FIT, "x.npy:name"], "x.npy:name names an array, but x.npy holds one without"),
    ([*FIT, "x.npy", "--set", "seed"], "--set must be KEY=VALUE, got 'seed'"),
    ([*FIT, "x.npy", "--labels", "no.txt"], "--labels no.txt is no file"),
    ([*FIT, "x.npy", "--labels", "photo.png"], "--labels: photo.png must be a file of vectors"),
    (["fit", "pca", "x.npy", "--bits", "8", "-o", "new"], "METHOD must be one of lsh, itq"),
    (["encode", "hasher", "photo.png", "-o", "new"], "photo.png must be a file of vectors"),
    (["encode", "hasher", "x.npy", "-o", "run"], "run exists already"),
    (["encode", "hasher", "x.npy", "-o", "new", "--resume"], "--resume is for images, hasher is"),
    (["encode", "run", "photo.png", "-o", "new", "--labels", "x.npy"], "--labels is for feature"),
    (["search", "gallery", "x.npy", "--model", "hasher", "--picture", "x.png"],
     "--picture draws images, but the gallery holds feature vectors"),
    (["search", "gallery", "photo.png", "--model", "hasher"], "must be a file of vectors"),
    (["recall", "nowhere", "x.npy"], "a hasher from `semicon-fast fit` is needed, nowhere does"),
    (["recall", "photo.png", "x.npy"], "photo.png is not a file that it wrote"),
    (["recall", "hasher", "no.npy"], "no.npy does not exist"),
    (["recall", "hasher", "x.npy", "--queries", "no.npy"], "no.npy does not exist"),
    (["recall", "hasher", "x.npy", "--metric", "l1"], "--metric must be one of cosine, euclidean"),
    (["visualize", "run", "-o", "new", "--images", "no.png"], "no.png does not exist"),
    ([*STUDY, "readme-cifar"], "study 'readme-cifar' does not exist; the nearest are readme-cif"),
    ([*STUDY, "readme-cifar10", "--only", "x"], "--only 'x' names no row of readme-cifar10"),
    ([*STUDY, "readme-cifar10", "--budget", "large"], "--budget must be one of paper, small"),
    ([*STUDY, "readme-cifar10", "--root", "nowhere"], "found nothing at nowhere"),
    ([*STUDY, "readme-cifar10", "--root", "cub=nowhere"], "found nothing at nowhere"),
    ([*STUDY, "readme-cifar10", "--root", "run", "--root", "empty"], "given twice for all data"),
    ([*STUDY, "readme-cifar10", "--set", "schedule.iteration=3"], "did you mean"),
    ([*STUDY, "readme-cifar10"], "data set cifar10 needs root"),
    (["study", "show", "empty"], "empty has no study; run one with: semicon-fast study run NAME"),
    (["study", "show", "nowhere"], "nowhere has no study"),
]  # fmt: skip
HELP = [["--help"], *([*command.split(), "--help"] for command in COMMANDS)]


def write_run(folder, preset, root=None):
    folder.mkdir()
    config = presets.preset(preset).override([f"data.root={root}"])
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "model.safetensors").write_bytes(b"")


def write_gallery(folder, **about):
    folder.mkdir()
    about = {"format": 1, "bits": 8, "count": 4, **about}
    (folder / "gallery.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders that get as far as an argument can be checked, and no further."""
    here = tmp_path_factory.mktemp("places")
    (here / "photo.png").write_bytes(b"")
    (here / "empty").mkdir()
    write_run(here / "run", "birdlets-48")
    write_run(here / "moved", "folder-12", "gone")
    model = "run/model.safetensors"
    write_gallery(here / "gallery", model=model)
    write_gallery(here / "retrained", model=model, model_sha256="0" * 64)
    write_gallery(here / "other", model=model, model_sha256="1" * 64)
    write_gallery(here / "orphan")
    write_gallery(here / "newer", format=99)
    write_gallery(here / "damaged")
    (here / "damaged" / "gallery.json").write_text("{")
    for name in ("x.npy", "there.npz"):
        (here / name).write_bytes(b"")
    about = json.dumps({"__metadata__": {"semicon_fast": json.dumps({"hasher": "itq"})}}).encode()
    (here / "hasher").write_bytes(len(about).to_bytes(8, "little") + about)
    return here


@pytest.fixture(scope="module")
def said(places):
    """Arguments -> (exit code, stdout, stderr, what of `HEAVY` is imported); `info` comes last."""
    before = sorted(places.rglob("*"))
    calls = [*HELP, *(arguments for arguments, _ in WRONG), ["info", "--json"]]
    command = [sys.executable, "-c", SCRIPT, json.dumps([calls, HEAVY])]
    done = subprocess.run(command, cwd=places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(places.rglob("*")) == before, "nothing may be left behind"
    answers = json.loads(done.stdout)
    return {tuple(call): answer for call, answer in zip(calls, answers, strict=True)}


@pytest.mark.parametrize("arguments, sentence", WRONG, ids=lambda v: " ".join(v).replace("/", "-"))
def test_a_wrong_argument_is_one_sentence_without_heavy_imports(said, arguments, sentence):
    code, _, stderr, loaded = said[tuple(arguments)]
    assert code == 2 and stderr.startswith("error: ") and "Traceback" not in stderr, stderr
    assert sentence in " ".join(stderr.split())
    assert loaded == []


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_needs_no_heavy_imports(said, arguments):
    code, stdout, _, loaded = said[tuple(arguments)]
    assert code == 0 and "Usage" in stdout
    assert loaded == []


def test_info_imports_torch_but_not_what_networks_and_figures_need(said):
    code, stdout, _, loaded = said["info", "--json"]
    assert code == 0
    facts = json.loads(stdout)
    assert "semicon" in facts["networks"] and "adsh" in facts["methods"]
    assert "cub" in facts["data sets"] and "cub-48" in facts["presets"]
    assert set(loaded) == {"torch", "numpy"}


def test_the_choices_of_options_are_those_of_the_library():
    from semicon_fast import centers
    from semicon_fast.cli import arguments, recall
    from semicon_fast.metrics._average_precision import DENOMINATORS
    from semicon_fast.models.execution import AUTOCAST_DTYPES
    from semicon_fast.search import reranking

    assert tuple(AUTOCAST_DTYPES) == arguments.PRECISIONS
    assert DENOMINATORS == arguments.DENOMINATORS
    assert set(reranking.METRICS) == set(recall.METRICS)
    assert all(callable(getattr(centers, kind)) for kind in centers.kinds.KINDS)
