"""Benchmarks of a device, as far as they go without one: options, time budgets, errors, rows."""

import contextlib
import csv
import itertools
import runpy
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Modules of the benchmarks can be imported; threads are as before afterwards."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    torch.set_num_threads(threads)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_search_benchmark_takes_every_option_that_the_devices_needs(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    import hamming_cuda
    import hamming_rank

    only = "1 of 1 billion"
    given = ["--device", "cuda", "--quick", "--only", only, "--csv", str(tmp_path / "rows.csv")]
    options = hamming_rank.arguments(given)
    options.device = "cpu"  # the rest of what `--device cuda` does
    hamming_cuda.run(options)
    assert [row["engine"] for row in rows_of(tmp_path / "rows.csv")] == ["semicon_fast"]
    options.seconds = 0
    hamming_cuda.run(options)
    assert f"no time left for: {only}" in capsys.readouterr().out


def test_cases_leave_their_rows_whatever_happens_to_the_next(tmp_path, monkeypatch, capsys):
    import harness

    clock = itertools.count()
    monkeypatch.setattr(harness.time, "monotonic", lambda: next(clock))
    cases = harness.Cases(tmp_path / "rows.csv", ("case",), seconds=4)
    for name in ("first", "broken", "second", "late", "later"):

        def work(name=name):
            if name == "broken":
                raise RuntimeError("an illegal memory access")
            return [{"case": name, "milliseconds": 1.0}]

        found = cases.measure(name, work)
        assert (found is not None) == (name in ("first", "second"))
        assert [r["case"] for r in rows_of(tmp_path / "rows.csv")] == [
            r["case"] for r in cases.rows
        ]
    assert cases.left == ["late", "later"] and cases.failed == ["broken"]
    with pytest.raises(SystemExit, match="failed: broken"):
        cases.end()
    assert "no time left for: late; later" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["attention.py", "pipeline.py"])
def test_no_case_begins_when_the_time_is_over(script, tmp_path, monkeypatch, capsys):
    options = ["--quick", "--threads", "1", "--seconds", "0", "--csv", str(tmp_path / "rows.csv")]
    monkeypatch.setattr(sys, "argv", [script, *options])
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    runpy.run_path(str(FOLDER / script), run_name="__main__")
    assert "no time left for: " in capsys.readouterr().out
    assert not (tmp_path / "rows.csv").exists()


def test_a_case_that_fails_costs_no_other_its_rows(tmp_path, monkeypatch, capsys):
    import attention
    import attention_cases

    def broken(case):
        raise RuntimeError("out of memory")

    mask = attention_cases.Case("mask", attention_cases.mask, size=4)
    cases = [mask, attention_cases.Case("broken", broken), attention_cases.replace(mask, name="b")]
    monkeypatch.setattr(attention, "CASES", cases)
    rows = tmp_path / "rows.csv"
    monkeypatch.setattr(sys, "argv", ["attention.py", "--quick", "--csv", str(rows)])
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    with pytest.raises(SystemExit, match="failed: broken, batch 2, float32"):
        attention.main()
    assert {row["case"] for row in rows_of(rows)} == {"mask", "b"}
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.slow  # convolutions in bfloat16 take long on a CPU
def test_gradients_in_bfloat16_are_right_though_a_fixed_tolerance_would_refuse_them():
    import attention
    from attention_cases import Case, icon

    case = Case("ICON", icon, batch=1, size=2, backward=True, dtype=torch.bfloat16)
    engines, truth, _ = case.build()
    assert attention.wrong(engines, truth) == {}
    released, own = engines["released"](), engines["semicon_fast"]()
    distance = (released[1].double() - own[1].double()).norm() / released[1].double().norm()
    assert distance > 3e-2


def test_an_engine_may_err_twice_as_much_as_the_released_code_and_no_more():
    import attention

    true = torch.linspace(1, 2, 64, dtype=torch.float64)
    error = 0.15 * torch.cos(torch.arange(64.0))

    def off_by(factor):
        return lambda: (true.bfloat16(), (true + factor * error).bfloat16())

    engines = {"released": off_by(1), "as good": off_by(-1.9), "worse": off_by(2.2)}
    engines["lost"] = lambda: (true.bfloat16(), true.bfloat16() * float("nan"))
    found = attention.wrong(engines, lambda: (true, true))
    assert set(found) == {"worse", "lost"} and "is allowed" in found["worse"]


class FakeDevice:
    """A device on which a call takes 3 ms; its clock stands still while a graph is captured."""

    def __init__(self, monkeypatch):
        self.now, self.capturing, self.stream, self.log = 0.0, False, "main", []
        fakes = {
            "Event": self.event, "CUDAGraph": self.new_graph, "graph": self.capture,
            "stream": self.on_stream, "Stream": self.any_stream, "current_stream": self.any_stream,
            "synchronize": lambda device: None,
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def call(self):
        self.log.append((self.stream, self.capturing))
        if not self.capturing:
            self.now += 3e-3

    def event(self, enable_timing):
        device = self

        class Event:
            def record(self, stream):
                self.at = device.now

            def elapsed_time(self, end):
                return 1e3 * (end.at - self.at)

        return Event()

    def new_graph(self):
        device = self

        class Graph:
            def replay(self):
                device.now += 3e-3

        return Graph()

    @contextlib.contextmanager
    def capture(self, graph):
        self.capturing = True
        yield
        self.capturing = False

    @contextlib.contextmanager
    def on_stream(self, stream):
        before, self.stream = self.stream, "side"
        yield
        self.stream = before

    def any_stream(self, device):
        class Stream:
            def wait_stream(self, other):
                pass

        return Stream()


def test_a_call_is_captured_once_and_its_replays_are_timed(monkeypatch):
    import device_time

    fake, device = FakeDevice(monkeypatch), torch.device("cuda", 0)
    replay = device_time.captured(fake.call, device)
    warm = [("side", False)] * device_time.WARM_UPS
    assert fake.log == [*warm, ("main", True)]
    assert device_time.device_seconds(replay, device) == pytest.approx(3e-3)
    assert fake.log == [*warm, ("main", True)]  # the host did nothing for it
    assert device_time.host_seconds(fake.call, device) < 3e-3
