"""CUDA units compiled by nvcc, and the instructions of their kernels' inner loops.

A loop is found in the control flow of the machine code. What a turn of it executes is the shortest
way through it: rare work, such as appending a code that was found, is branched around or in a loop
of its own.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CUDA = ROOT / "csrc" / "cuda"
# The nvcc that wrote the tables; another one has to compile, and may do so as it likes.
COMPILER = "13.0"


def compiler():
    for place in (shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if place and Path(place).exists():
            return place
    return None


needs_nvcc = pytest.mark.skipif(compiler() is None, reason="no nvcc")


def skip_with_another_compiler():
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    if f"release {COMPILER}," not in version:
        pytest.skip(f"compiled; the table is of nvcc {COMPILER}, not {version.split()[-1]}")


def compiled(unit, sm, folder):
    """-> (cubin, what ptxas says of it)."""
    cubin = Path(folder) / f"{unit}.{sm}.cubin"
    command = [compiler(), "-std=c++17", "-O3", f"-I{CUDA.parent}", f"-arch=sm_{sm}"]
    command += ["-Xptxas", "-v", "-cubin"]
    done = subprocess.run(
        [*command, str(CUDA / unit), "-o", str(cubin)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return cubin, demangled(done.stdout + done.stderr)


def demangled(text):
    return subprocess.run(
        ["c++filt"], input=text, capture_output=True, text=True, check=True
    ).stdout


def short(name):
    """A kernel's name without what all of them have in common."""
    name = re.sub(r"void |semicon_fast::cuda::|\(anonymous namespace\)::", "", name)
    return name.split("(")[0]


def disassembler():
    """cuobjdump, of the toolkit or of Triton."""
    found = shutil.which("cuobjdump")
    if found is None:
        triton = pytest.importorskip("triton")
        found = triton.knobs.nvidia.cuobjdump.path
    return found


@lru_cache
def listing(cubin):
    return subprocess.run(
        [disassembler(), "-sass", str(cubin)], capture_output=True, text=True, check=True
    ).stdout


def kernels(cubin):
    """Name -> its instructions, each (address, text without the end)."""
    parts = re.split(r"\tFunction : (\S+)", listing(cubin))[1:]
    names = demangled("\n".join(parts[::2])).splitlines()
    line = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.+?)\s*;", re.MULTILINE)
    return {
        short(name): [(int(at, 16), text) for at, text in line.findall(body)]
        for name, body in zip(names, parts[1::2], strict=True)
    }


@dataclass
class Block:
    texts: list = field(default_factory=list)
    after: list = field(default_factory=list)  # addresses of the blocks that may follow

    def count(self, pattern):
        return count(self.texts, pattern)


def blocks_of(instructions):
    """Address -> Block, in order."""
    addresses = [at for at, _ in instructions]
    following = dict(zip(addresses, addresses[1:], strict=False))
    # A call that depends on a predicate leaves a loop, and does not come back (sm_80).
    jump = re.compile(r"\b(?:BRA|BRX|JMP)\b|^@\S+ CALL")
    leaders, targets = {addresses[0]}, {}
    for at, text in instructions:
        if jump.search(text):
            found = re.findall(r"0x[0-9a-f]+", text)
            targets[at] = [int(found[-1], 16)] if found else []
            leaders |= set(targets[at])
        if jump.search(text) or re.search(r"\b(EXIT|RET)\b", text):
            leaders.add(following.get(at))
    blocks, current = {}, None
    for at, text in instructions:
        if at in leaders:
            current = blocks[at] = Block()
        current.texts.append(text)
        ends = at not in following or following[at] in leaders
        if not ends:
            continue
        current.after = list(targets.get(at, []))
        never_on = re.match(r"(EXIT|RET|BRA (?!U?!?P)|BRX|JMP)\b", text)
        if not never_on and at in following:
            current.after.append(following[at])
    return blocks


def dominators(blocks):
    """Address -> addresses of the blocks that every way to it passes, itself included."""
    start, every = next(iter(blocks)), set(blocks)
    before = {at: [b for b in blocks if at in blocks[b].after] for at in blocks}
    found = {at: {at} if at == start else every for at in blocks}
    changed = True
    while changed:
        changed = False
        for at in blocks:
            if at == start or not before[at]:
                continue
            passed = {at} | set.intersection(*(found[b] for b in before[at]))
            changed |= passed != found[at]
            found[at] = passed
    return found


@dataclass
class Loop:
    header: int
    body: set
    blocks: dict
    within: list = field(default_factory=list)  # the loops around it, the innermost first

    def own(self, loops):
        """The blocks that are in no loop inside of this one."""
        inner = [other.body for other in loops if other.body < self.body]
        return self.body - set().union(*inner)

    def shortest_turn(self, own, through=None):
        """The texts of the shortest way from the header back to it; over `through`, if given."""
        best = {(self.header, through is None): []}
        for at in sorted(own):
            for seen in (False, True):
                if (at, seen) not in best:
                    continue
                texts = best[at, seen] + self.blocks[at].texts
                there = seen or bool(through and self.blocks[at].count(through))
                for next_at in self.blocks[at].after:
                    if next_at != self.header and (next_at not in own or next_at <= at):
                        continue
                    key = ("end" if next_at == self.header else next_at), there
                    if key not in best or len(texts) < len(best[key]):
                        best[key] = texts
        return best.get(("end", True))


def loops_of(blocks):
    passed, merged = dominators(blocks), {}
    before = {at: [b for b in blocks if at in blocks[b].after] for at in blocks}
    for at, block in blocks.items():
        for header in set(block.after) & passed[at]:
            body, todo = merged.setdefault(header, {header}), [at]
            while todo:
                member = todo.pop()
                if member not in body:
                    body.add(member)
                    todo += before[member]
    loops = [Loop(header, body, blocks) for header, body in merged.items()]
    for loop in loops:
        around = [other for other in loops if other.body > loop.body]
        loop.within = sorted(around, key=lambda other: len(other.body))
    return loops


def busiest(instructions, work):
    """(loop, loops, turn): the loop with most instructions that match `work` in a turn of it.

    Not a loop that changes global memory by atomics, nor one inside of it: what is appended there
    is rare.
    """
    loops = loops_of(blocks_of(instructions))
    rare = [
        loop.body
        for loop in loops
        if any(loop.blocks[at].count(r"\b(ATOMG?|REDG?)\.") for at in loop.own(loops))
    ]
    often = [loop for loop in loops if not any(loop.body <= body for body in rare)]
    turns = [(loop, loops, loop.shortest_turn(loop.own(loops)) or []) for loop in often]
    return max(turns, key=lambda found: count(found[2], work))


def count(texts, pattern):
    return sum(bool(re.search(pattern, text)) for text in texts)
