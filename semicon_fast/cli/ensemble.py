"""`semicon-fast ensemble`: join the networks of several runs to one, with their codes side by side.

The runs must be finished, and on the same data. The ensemble is a run in a folder of its own, which
`encode` and `evaluate` take; its Hamming distances are the sums of the networks' distances.

Example:
  semicon-fast ensemble runs/first runs/second -o runs/both
"""

from pathlib import Path
from typing import Annotated

import typer

from .common import console, print_json, say
from .options import AsJson, Output


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, at least two.")],
    output: Output,
    as_json: AsJson = False,
) -> None:
    from ..training import resume

    resume.check_members(runs, output)
    from ..training import join_runs

    joined = join_runs(runs, output)
    groups = {name: group.stop - group.start for name, group in joined.bit_groups.items()}
    if as_json:
        print_json({"run": str(output), "bits": joined.code_length, "networks": groups})
        return
    bits = " + ".join(map(str, groups.values()))
    say(console(False), f"{output}: {len(groups)} networks, codes of {bits} bits")
