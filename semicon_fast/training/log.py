"""The log: one JSON object a line, on disk as soon as it is written.

Lines are events: "start", "epoch", "evaluation", "result". Everything but the key "seconds" (time
since the run began, and it alone) is the same in a run that was stopped and resumed.
"""

import json
import os
from pathlib import Path
from typing import Any

from ..files import atomic_write


class Log:
    """log.jsonl of a run; `lines` counts what is in it."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Opens the log and cuts it back to its first `keep` lines."""
        self.path = path
        found = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        self.lines = min(keep, len(found))
        if len(found) != self.lines:
            with atomic_write(path) as file:
                file.write(b"".join(found[: self.lines]))
        self._file = open(path, "ab")  # noqa: SIM115 - stays open for the length of a run

    def write(self, event: str, **values: Any) -> dict[str, Any]:
        """Adds a line and returns it. Raises OSError with a sentence when it cannot be written."""
        record = {"event": event, **values}
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, f"could not write {self.path}: {error.strerror}") from error
        self.lines += 1
        return record

    def sync(self) -> None:
        """Makes all lines durable: a checkpoint counts on those before it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
