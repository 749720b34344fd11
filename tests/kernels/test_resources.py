"""Registers, spills and shared memory of every kernel, held to the table resources.csv.

No device is needed: kernels are compiled for sm_80 and sm_90 with the arguments that the launchers
pass. `python tests/kernels/test_resources.py` writes the table anew.
"""

import csv
import math
import re
import subprocess
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

TABLE = Path(__file__).with_name("resources.csv")
COLUMNS = ["kernel", "case", "dtype", "sm", "registers", "stack_bytes", "shared_bytes"]
# The Triton that wrote the table; another one has to compile, and may allocate as it likes.
COMPILER = "3.8"
# A quarter more than recorded for registers and shared memory; nothing more for spills.
MARGIN = 1.25

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Channels, groups, map. The network's own: both steps at ResNet-50 and at ResNet-18 and -34, for
# images of 224 and of 448 pixels; the first step with its output's moments, the second with its
# input's norm. The rest is what other users may have.
NETWORK = {
    "icon 2048/32 7x7": (2048, 32, 7),
    "icon 2048/64 7x7": (2048, 64, 7),
    "icon 512/16 7x7": (512, 16, 7),
    "icon 512/32 7x7": (512, 32, 7),
    "icon 2048/32 14x14": (2048, 32, 14),
    "icon 2048/64 14x14": (2048, 64, 14),
    "moments 2048/32 7x7": (2048, 32, 7),
    "moments 512/16 7x7": (512, 16, 7),
    "moments 2048/32 14x14": (2048, 32, 14),
    "normed 2048/64 7x7": (2048, 64, 7),
    "normed 512/32 7x7": (512, 32, 7),
    "normed 2048/64 14x14": (2048, 64, 14),
    "sem 64 14x14": (64, None, 14),
    "sem 64 28x28": (64, None, 28),
}
OTHERS = {
    "icon 2048/16 7x7": (2048, 16, 7),
    "icon 2048/8 7x7": (2048, 8, 7),
    "icon 1536/32 12x12": (1536, 32, 12),
    "icon 2048/64 32x32": (2048, 64, 32),
    "normed 2048/32 7x7": (2048, 32, 7),
    "normed 2048/16 7x7": (2048, 16, 7),
}
FAST = ["icon 2048/32 7x7", "sem 64 14x14"]


class Recorder:
    """Stands in for a kernel in its module and keeps what it is launched with."""

    def __init__(self, kernel, calls):
        self.kernel, self.calls = kernel, calls

    def __getitem__(self, grid):
        return lambda *args, **options: self.calls.append((self.kernel, args, options))


def recorded(patch, modules, launch):
    """(kernel, arguments, options) of every launch that `launch()` makes."""
    calls = []
    for module in modules:
        for name, value in vars(module).items():
            if name.endswith("_kernel"):
                patch.setattr(module, name, Recorder(value, calls))
    launch()
    return calls


def icon_arguments(channels, heads, side, dtype):
    x = torch.empty(16, channels, side, side, dtype=dtype)
    weight = torch.empty(3 * channels, channels // heads, 1, 1, dtype=dtype)
    return x, weight, torch.empty(3 * channels, dtype=dtype), heads, 1e-5, False, False


def icon_launches(patch, channels, heads, side, dtype):
    from semicon_fast.kernels import icon_attention as forward
    from semicon_fast.kernels import icon_attention_backward as backward
    from semicon_fast.kernels import icon_projection_backward as projection

    given = x, weight, bias, *_ = icon_arguments(channels, heads, side, dtype)

    def launch():
        forward.icon_attention_fwd(torch.empty_like(x), *given)
        grads = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
        backward.icon_attention_bwd(*grads, x, *given)

    return recorded(patch, (forward, backward, projection), launch)


def moments_launches(patch, channels, heads, side, dtype):
    from semicon_fast.kernels import icon_attention as forward

    given = icon_arguments(channels, heads, side, dtype)
    moments = torch.empty(2, 16, channels)

    def launch():
        forward.icon_attention_fwd(torch.empty_like(given[0]), *given, moments=moments)

    return recorded(patch, (forward,), launch)


def normed_launches(patch, channels, heads, side, dtype):
    from semicon_fast.kernels import icon_attention as forward
    from semicon_fast.kernels import icon_attention_backward as backward
    from semicon_fast.kernels import icon_norm as norm
    from semicon_fast.kernels import icon_projection_backward as projection

    given = x, weight, bias, *_ = icon_arguments(channels, heads, side, dtype)
    vectors = norm.Norm(*torch.empty(4, channels), 1e-5)

    def launch():
        forward.icon_attention_fwd(torch.empty_like(x), *given, vectors)
        grads = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
        d_norm = torch.empty(2, channels)
        backward.icon_attention_bwd(*grads, x, *given, vectors, d_norm, True)

    return recorded(patch, (forward, backward, projection, norm), launch)


def sem_launches(patch, channels, _, side, dtype):
    from semicon_fast.kernels import sem_mask as forward
    from semicon_fast.kernels import sem_mask_backward as backward

    guidance = torch.empty(16, channels, side, side, dtype=dtype)
    score = torch.empty(16, 1, side, side, dtype=dtype)

    def launch():
        for switches in ((False, False, False), (True, True, False)):
            forward.sem_mask_fwd(torch.empty_like(guidance), guidance, score, 0.3, *switches[:2])
            grads = torch.empty_like(guidance), torch.empty_like(score)
            backward.sem_mask_bwd(*grads, guidance, guidance, score, 0.3, *switches)

    return recorded(patch, (forward, backward), launch)


def compiled(kernel, arguments, options, sm):
    """The kernel as the launch would compile it on a device of compute capability sm / 10."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constant = {p.name for p in kernel.params if p.is_constexpr}
    values = dict(zip(kernel.arg_names, arguments, strict=False))
    values |= {name: value for name, value in options.items() if name in kernel.arg_names}
    types = {torch.float32: "*fp32", torch.bfloat16: "*bf16", int: "i32", float: "fp32"}
    signature, constants, attributes = {}, {}, {}
    for i, name in enumerate(kernel.arg_names):
        value = values[name]
        # As at a launch: None and 1 become constants, multiples of 16 are marked.
        if name in constant or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = types[getattr(value, "dtype", type(value))]
        if isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    chosen = {name: value for name, value in options.items() if name not in kernel.arg_names}
    return triton.compile(source, target=GPUTarget("cuda", sm, 32), options=chosen)


def resources(binary, folder):
    """(registers, bytes of stack, where spills go, bytes of shared memory) of a program."""
    path = folder / "kernel.cubin"
    path.write_bytes(binary.asm["cubin"])
    tool = triton.knobs.nvidia.cuobjdump.path
    text = subprocess.run(
        [tool, "--dump-resource-usage", str(path)], capture_output=True, text=True, check=True
    ).stdout
    registers, stack = (int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK"))
    return registers, stack, binary.metadata.shared


def measured(cases, dtypes, architectures, folder):
    """Rows of the table; of several launches of a kernel the largest figures."""
    rows = {}
    for case, shape in cases.items():
        for dtype in dtypes:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TRITON_CACHE_DIR", str(folder / "cache"))
                launches = globals()[f"{case.split()[0]}_launches"]
                for kernel, arguments, options in launches(patch, *shape, DTYPES[dtype]):
                    for sm in architectures:
                        found = resources(compiled(kernel, arguments, options, sm), folder)
                        key = kernel.__name__, case, dtype, sm
                        rows[key] = tuple(map(max, rows.get(key, (0, 0, 0)), found))
    return rows


def table():
    with TABLE.open(newline="") as file:
        return {
            (row["kernel"], row["case"], row["dtype"], int(row["sm"])): tuple(
                int(row[column]) for column in COLUMNS[4:]
            )
            for row in csv.DictReader(file)
        }


def check(rows):
    if not triton.__version__.startswith(COMPILER):
        pytest.skip(f"compiled; the table is of Triton {COMPILER}, not {triton.__version__}")
    recorded_rows = table()
    for key, found in rows.items():
        registers, stack, shared = recorded_rows[key]
        assert found[0] <= math.ceil(MARGIN * registers), (key, found)
        assert found[1] <= stack, (key, found)
        assert found[2] <= MARGIN * shared, (key, found)


def test_nothing_spills_at_the_networks_own_shapes():
    rows = {key: row for key, row in table().items() if key[1] in NETWORK}
    assert {key[1] for key in rows} == set(NETWORK)
    assert {key[2:] for key in rows} == {(d, sm) for d in DTYPES for sm in (80, 90)}
    assert not [key for key, row in rows.items() if row[1]]


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.slow)])
def test_kernels_keep_to_the_table(dtype, tmp_path):
    check(measured({case: NETWORK[case] for case in FAST}, [dtype], [90], tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", NETWORK | OTHERS)
def test_every_kernel_keeps_to_the_table(case, tmp_path):
    check(measured({case: (NETWORK | OTHERS)[case]}, DTYPES, [80, 90], tmp_path))


def test_arguments_that_a_launch_makes_constant_compile_too(tmp_path, monkeypatch):
    # A single image or head and a stride of 1 reach the compiler as constants.
    from semicon_fast.kernels import icon_attention as forward
    from semicon_fast.kernels import icon_attention_backward as backward
    from semicon_fast.kernels import icon_norm as norm
    from semicon_fast.kernels import icon_projection_backward as projection

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    x = torch.empty(1, 80, 3, 3).to(memory_format=torch.channels_last).bfloat16()
    weight = x.new_empty(240, 80, 1, 1)
    given = (x, weight, None, 1, 1e-5, True, True)
    vectors = norm.Norm(*torch.empty(4, 80), 1e-5)

    def launch():
        forward.icon_attention_fwd(torch.empty_like(x), *given, moments=torch.empty(2, 1, 80))
        grads = torch.empty_like(x), torch.empty_like(weight), weight.new_empty(240)
        backward.icon_attention_bwd(*grads, x, *given)
        forward.icon_attention_fwd(torch.empty_like(x), *given, vectors)
        backward.icon_attention_bwd(*grads, x, *given, vectors, torch.empty(2, 80), True)

    calls = recorded(monkeypatch, (forward, backward, projection, norm), launch)
    assert len(calls) == 11
    for call in calls:
        assert resources(compiled(*call, 90), tmp_path)[0] > 0


@pytest.mark.parametrize(
    ("layout", "stacked", "pieces", "wide"),
    [
        (torch.contiguous_format, False, 32, 0),
        (torch.contiguous_format, True, 4 * 32, 0),
        # The residual of the released code is every heads-th channel, so not wide.
        (torch.channels_last, False, 0, 4),
        (torch.channels_last, True, 32, 3 * 4),
    ],
)
def test_the_map_is_loaded_once_in_the_papers_variant_and_widely_in_channels_last(
    layout, stacked, pieces, wide, tmp_path, monkeypatch
):
    # A head's q, k, v and residual: 64 by 64 elements, by 128 threads, 2 or 16 bytes at a time.
    from semicon_fast.kernels import icon_attention as forward

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    x, weight, _, *step = icon_arguments(2048, 32, 7, torch.bfloat16)
    x = x.to(memory_format=layout)
    given = (x, weight, None, *step[:2], stacked, stacked)
    calls = recorded(
        monkeypatch, (forward,), lambda: forward.icon_attention_fwd(torch.empty_like(x), *given)
    )
    loads = compiled(*calls[0], 90).asm["ptx"]
    weights = 3 * 4
    assert len(re.findall(r"ld\.global\.b16", loads)) == pieces
    assert len(re.findall(r"ld\.global\.v4", loads)) == wide + weights


def write_table():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rows = measured(NETWORK | OTHERS, DTYPES, [80, 90], Path(folder))
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, *row) for key, row in sorted(rows.items()))


if __name__ == "__main__":
    write_table()
