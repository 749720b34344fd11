"""Who may import whom, read off the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the ground up: each part, and the parts before it that it may import.
MAY_IMPORT = {
    "files": set(),
    "text": set(),
    "arrays": set(),
    "forks": set(),
    "torchrun": set(),
    "distributed": {"torchrun"},
    "reference": set(),
    "codes": {"arrays", "reference"},
    "kernels": set(),
    "native": {"files", "forks"},
    "ops": {"reference", "native", "kernels"},
    "layers": {"ops"},
    "search": {"ops", "reference", "codes", "arrays", "forks", "files", "text"},
    "data": {"arrays", "files", "distributed"},
    "metrics": {"search", "ops", "reference", "codes", "arrays"},
    "models": {"layers", "ops", "reference", "codes", "files"},
    "centers": {"arrays", "files"},
    "methods": {"centers", "models", "arrays"},
    "shallow": {"codes", "arrays", "files"},
    "training": {
        "methods", "models", "data", "metrics", "search", "codes", "files", "text", "distributed",
    },
    "encoding": {"shallow", "models", "data", "search", "codes", "arrays", "files", "distributed"},
    "viz": {"methods", "models", "layers", "data", "metrics", "search", "files", "text"},
    "report": {"training", "viz", "codes", "models", "data", "search", "files", "text"},
    "studies": {
        "report", "training", "viz", "shallow", "models", "data", "metrics", "search", "codes",
        "files", "text",
    },
    "serve": {"viz", "models", "data", "search"},
    "cli": {
        "studies", "report", "training", "encoding", "serve", "viz", "methods", "models", "data",
        "metrics", "centers", "shallow", "search", "ops", "native", "distributed", "files", "text",
        "torchrun",
    },
    "__main__": {"cli"},
}  # fmt: skip
THIRD_PARTY = {"reference": {"torch"}, "kernels": {"torch", "triton"}}


def sources() -> list[tuple[str, Path]]:
    """(part, file) for every module of the library, and the stub of every package that has one."""
    found = []
    for path in sorted((ROOT / "semicon_fast").rglob("*.py*")):
        if path.suffix not in (".py", ".pyi"):
            continue
        part = path.relative_to(ROOT / "semicon_fast").parts[0].partition(".")[0]
        if part != "__init__":
            found.append((part, path))
    return found + [("kernels", p) for p in sorted((ROOT / "kernels").rglob("*.py"))]


def imports(source: str) -> list[tuple[int, str, list[str]]]:
    """(relative level, module, names) of every import statement, nested ones too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [a.name for a in node.names]))
        elif isinstance(node, ast.Import):
            found += [(0, alias.name, []) for alias in node.names]
    return found


def parts_imported(source: str, package: list[str]) -> set[str]:
    """The parts of the library that `source`, a file of `package`, imports in any spelling."""
    found: set[str] = set()
    for level, module, names in imports(source):
        dotted = module.split(".") if module else []
        if level == 0:
            if dotted[0] != "semicon_fast":
                continue
            dotted = dotted[1:]
        else:
            dotted = package[: len(package) - (level - 1)] + dotted
        found |= {dotted[0]} if dotted else set(names)
    return found - {"__version__"}


def package_of(path: Path) -> list[str]:
    if path.is_relative_to(ROOT / "kernels"):
        return ["kernels", *path.relative_to(ROOT / "kernels").parts[:-1]]
    return list(path.relative_to(ROOT / "semicon_fast").parts[:-1])


def test_the_table_itself_points_down():
    parts = list(MAY_IMPORT)
    for row, part in enumerate(parts):
        assert MAY_IMPORT[part] <= set(parts[:row]), part


@pytest.mark.parametrize("part, path", sources(), ids=lambda v: str(v).replace(str(ROOT), ""))
def test_arrows_point_down(part, path):
    wrong = parts_imported(path.read_text("utf-8"), package_of(path)) - MAY_IMPORT[part] - {part}
    assert not wrong, f"{path.name} ({part}) must not import {sorted(wrong)}"


@pytest.mark.parametrize("part", sorted(THIRD_PARTY))
def test_truth_and_kernels_need_only_torch(part):
    standard = {"math", "collections", "typing", "functools", "enum", "dataclasses"}
    for other, path in sources():
        if other == part:
            absolute = [m for level, m, _ in imports(path.read_text("utf-8")) if level == 0]
            packages = {module.split(".")[0] for module in absolute}
            assert packages <= THIRD_PARTY[part] | standard, path.name


def test_torch_library_is_used_by_ops_alone():
    users = {part for part, path in sources() if "torch.library" in path.read_text("utf-8")}
    assert users <= {"ops"}


def test_environment_is_read_by_native_and_of_torchrun_by_two_modules():
    users = {
        part
        for part, path in sources()
        if any(word in path.read_text("utf-8") for word in ("os.environ", "getenv"))
    }
    assert users <= {"native", "distributed", "torchrun"}


# What these do without an argument they do on the current device, which need not be the one that
# the tensors at hand are on.
OF_THE_CURRENT_DEVICE = {
    "current_stream", "default_stream", "synchronize", "Stream", "record", "mem_get_info",
    "get_rng_state", "get_device_capability", "get_device_name", "get_device_properties",
}  # fmt: skip


def calls_on_the_current_device(source: str) -> list[str]:
    """Calls of torch.cuda, and records of events, that leave open which device they are about."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            mine = owner.endswith("torch.cuda") or (name == "record" and "torch.cuda" in source)
            if mine and name in OF_THE_CURRENT_DEVICE and not node.args and not node.keywords:
                found.append(ast.unparse(node))
    return found


def test_streams_and_events_name_their_device():
    for _, path in sources():
        assert calls_on_the_current_device(path.read_text("utf-8")) == [], path.name


def test_the_check_sees_a_stream_and_an_event_of_the_current_device():
    source = "import torch.cuda\ntorch.cuda.current_stream().synchronize()\ndone.record()\n"
    found = calls_on_the_current_device(source)
    assert sorted(found) == ["done.record()", "torch.cuda.current_stream()"]
    named = "done.record(torch.cuda.current_stream(device)); torch.cuda.synchronize(device)"
    assert calls_on_the_current_device(named) == []


def test_nothing_is_unpickled():
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", path.name
        modules = {m.split(".")[0] for _, m, _ in imports(path.read_text("utf-8"))}
        assert not modules & {"pickle", "dill", "cloudpickle", "joblib"}, path.name


@pytest.mark.parametrize(
    "statement, part",
    [
        ("from ..training import Trainer", "training"),
        ("from .. import training", "training"),
        ("from ..training.trainer import Trainer", "training"),
        ("import semicon_fast.training", "training"),
        ("def f():\n    from semicon_fast.training import Trainer", "training"),
        ("from .sem import SEM", "layers"),
    ],
)
def test_the_check_sees_every_spelling(statement, part):
    assert parts_imported(statement, ["layers"]) == {part}
