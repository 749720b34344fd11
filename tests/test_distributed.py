"""What processes exchange, among real ones that torchrun starts."""

import json
import os
import signal
import time

import pytest
import torch

from semicon_fast import distributed


def test_alone_every_exchange_is_with_itself():
    distributed.join()
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    rows = torch.arange(6).reshape(3, 2)
    assert torch.equal(distributed.gather(rows), rows)
    assert torch.equal(distributed.total(rows), rows)
    assert torch.equal(distributed.largest(rows), rows)
    assert distributed.everyone("x") == ["x"] and distributed.on_main(lambda: 3) == 3
    distributed.barrier()
    with pytest.raises(OSError, match="full"):
        distributed.together(lambda: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(RuntimeError, match="timed out"), distributed.watched():
        raise RuntimeError("timed out, but of something else")


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 6, 7, 100])
def test_shares_are_a_partition_in_order(count, processes):
    shares = [distributed.share_of(count, r, processes) for r in range(processes)]
    assert [i for share in shares for i in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


EXCHANGES = """
import json, sys
import torch
from semicon_fast import distributed as d

d.join()
d.join()
r = d.rank()
found = {"size": d.world_size(), "main": d.is_main()}
found["total"] = d.total(torch.tensor([1.5, r])).tolist()
found["largest"] = d.largest(torch.tensor([-r, r])).tolist()
found["gathered"] = d.gather(torch.full((r, 2), r, dtype=torch.uint8)).tolist()
found["everyone"] = d.everyone({"rank": r, "text": "\\u00e4\\n\\u2028"})
kept = torch.full((2, 3), float(r))
d.broadcast([kept.t(), torch.tensor(r)])
found["broadcast"] = kept.tolist()
found["on main"] = d.on_main(lambda: [r, 5])

def failing(*ranks):
    if r in ranks:
        raise ValueError(f"of {ranks}")

for name, ranks in {"one": (1,), "all": (0, 1)}.items():
    try:
        d.together(lambda: failing(*ranks))
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
try:
    d.on_main(lambda: failing(0))
except Exception as error:
    found["failed"] = f"{type(error).__name__}: {error}"
open(f"{sys.argv[1]}/{r}.json", "w").write(json.dumps(found))
"""


def test_two_processes_exchange_what_they_have(torchrun, tmp_path):
    (tmp_path / "child.py").write_text(EXCHANGES)
    run = torchrun(2, tmp_path / "child.py", tmp_path)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    zero, one = (json.loads((tmp_path / f"{r}.json").read_text()) for r in range(2))
    assert (zero.pop("main"), one.pop("main")) == (True, False)
    other = "OtherProcessFailed: process"
    assert (zero.pop("one"), one.pop("one")) == (
        f"{other} 1 failed: of (1,)",
        "ValueError: of (1,)",
    )
    assert zero.pop("all") == "ValueError: of (0, 1)"
    assert one.pop("all") == f"{other} 0 failed: of (0, 1)"
    assert zero.pop("failed") == "ValueError: of (0,)"
    assert one.pop("failed") == f"{other} 0 failed: of (0,)"
    assert zero == one
    assert zero["size"] == 2 and zero["total"] == [3, 1] and zero["largest"] == [0, 1]
    assert zero["gathered"] == [[1, 1]] and zero["on main"] == [0, 5]
    assert zero["broadcast"] == [[0, 0, 0]] * 2
    assert zero["everyone"] == [{"rank": r, "text": "\u00e4\n\u2028"} for r in range(2)]


LOSS = """
import os, signal, sys, time
from pathlib import Path
from semicon_fast import distributed as d

signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, to those who are left
d.join()
folder = Path(sys.argv[1])
(folder / f"pid{d.rank()}").write_text(str(os.getpid()))
try:
    while True:
        d.barrier()
        time.sleep(0.01)
except d.ProcessLost as error:
    (folder / "lost").write_text(str(error))
    raise
"""


@pytest.mark.slow
def test_a_killed_process_is_noticed_by_the_others(torchrun, tmp_path):
    (tmp_path / "child.py").write_text(LOSS)
    run = torchrun(2, tmp_path / "child.py", tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / "pid1").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(int((tmp_path / "pid1").read_text()), signal.SIGKILL)
    assert run.wait(timeout=60) != 0
    assert "died" in (tmp_path / "lost").read_text()


RESTART = """
import os, signal, time
from semicon_fast import distributed as d

again = os.environ["TORCHELASTIC_RESTART_COUNT"] == "1"
# Process 1 comes first and finds whatever the last attempt has left in torchrun's store.
if again and os.environ["RANK"] == "0":
    time.sleep(5)
d.join()
found = d.everyone(d.rank())
if again:
    open(__file__ + os.environ["RANK"], "w").write(str(found))
elif d.is_main():
    os.kill(os.getpid(), signal.SIGKILL)
else:
    time.sleep(120)
"""


@pytest.mark.slow
def test_restarted_processes_find_each_other_not_the_dead(torchrun, tmp_path):
    (tmp_path / "child.py").write_text(RESTART)
    run = torchrun(2, tmp_path / "child.py", restarts=1)
    _, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors[-2000:]
    assert [(tmp_path / f"child.py{rank}").read_text() for rank in (0, 1)] == ["[0, 1]"] * 2
