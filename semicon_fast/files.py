"""Atomic file writes: to a temporary file in the same folder, synced to disk, then renamed; and
whether a file or a folder could be written, before the work that it would hold."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def _explained(error: OSError, path: Path) -> OSError:
    """An error of the same type whose message says what could not be written and why."""
    if error.errno == errno.ENOSPC:
        cause = "the disk is full"
    elif error.errno == errno.EDQUOT:
        cause = "the disk quota is used up"
    elif isinstance(error, PermissionError):
        cause = "permission denied"
    else:
        cause = error.strerror or str(error)
    message = f"could not write {path}: {cause}; an existing file is unchanged"
    return type(error)(error.errno, message)


def temporary_prefix(name: str) -> str:
    """The start of the names of temporary files and folders beside the one called `name`.

    It is short enough for any name that a file system takes, which are up to 255 bytes long.
    """
    return f".{name[:32]}."


@contextmanager
def utf8_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """The path as text, for libraries that take only UTF-8; any other is opened under another name.

    Raises OSError if such a file cannot be opened.
    """
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            yield f"/dev/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        yield name


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises OSError unless files could be made in `folder`, which need not exist yet.

    Makes nothing. Where this passes writing can still fail, on a full disk for example.
    """
    wanted = Path(folder)
    if (reason := _not_writable(wanted)) is not None:
        raise OSError(f"could not write to {wanted}: {reason}")


def check_file(path: str | os.PathLike[str]) -> None:
    """Raises OSError unless `atomic_write` could write `path`, as far as is known before."""
    target = Path(path)
    try:
        reason = "it is a folder, not a file" if stat.S_ISDIR(os.stat(target).st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        reason = None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
    reason = reason or _not_writable(target.parent)
    if reason is not None:
        raise OSError(f"could not write {target}: {reason}")


def _not_writable(folder: Path) -> str | None:
    """Why no file could be made in `folder`, nor in a new folder of its name; None if one could."""
    for place in (folder, *folder.parents):
        try:
            if not stat.S_ISDIR(os.stat(place).st_mode):
                return f"{place} is a file, not a folder"
            allowed = os.access(place, os.W_OK | os.X_OK)
            return None if allowed else f"the folder {place} is read-only for this user"
        except FileNotFoundError:
            if place.is_symlink():
                return f"{place} is a link that leads nowhere"
        except NotADirectoryError:
            pass
        except OSError as error:
            return os.strerror(error.errno or 0)
    return None


def sync_directory(path: Path) -> None:
    """Makes renames inside `path` durable. Does nothing if the folder cannot be synced."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Context manager that yields a file, which replaces `path` if the block ends without an error.

    If the block or the process fails, `path` keeps its old content. mode: "wb", or "w" for text
    that is written as UTF-8 with its line ends as they are; bytes of file names that are not UTF-8
    are written as they are in the file system ("surrogateescape").
    Raises OSError with a message that names the path and the cause.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f'atomic_write: mode must be "wb" or "w", got {mode!r}')
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        text: dict[str, Any] = {}
        if mode == "w":
            text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
        descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(target.name), dir=target.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; the result gets the permissions of an ordinary new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
        temporary = None
        sync_directory(target.parent)
    except OSError as error:
        raise _explained(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
