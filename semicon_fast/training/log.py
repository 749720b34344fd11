"""The log of a run: one JSON object per line, flushed after every line.

Each line is an event: "start", "epoch", "evaluation" or "result". A run that was interrupted and
resumed has the same log as an uninterrupted one, except for the key "seconds", the time since the
run began.
"""

import json
import os
from pathlib import Path
from typing import Any

from ..files import atomic_write


class Log:
    """log.jsonl of a run; `lines` is the number of its lines."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Open the log and truncate it to its first `keep` lines."""
        self.path = path
        found = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        self.lines = min(keep, len(found))
        if len(found) != self.lines:
            with atomic_write(path) as file:
                file.write(b"".join(found[: self.lines]))
        self._file = open(path, "ab")  # noqa: SIM115 - stays open for the length of a run

    def write(self, event: str, **values: Any) -> dict[str, Any]:
        """Append an event and return it. Raises OSError if the file cannot be written."""
        record = {"event": event, **values}
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, f"could not write {self.path}: {error.strerror}") from error
        self.lines += 1
        return record

    def sync(self) -> None:
        """fsync the file: a checkpoint relies on the lines before it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
