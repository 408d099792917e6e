"""Files that one process at a time may hold. The lock goes with the process, however it ends."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from gbad.errors import RunError


@contextmanager
def held(path: Path, busy: str, *, remove: bool = False) -> Iterator[None]:
    """Hold a lock file until the block ends or the process dies. On systems and disks without locks nothing is held.

    Parameters
    ----------
    path : Path
        The lock file. Its folder exists.
    busy : str
        Message if another process holds it, with ``{holder}`` where it is named.
    remove : bool
        Delete the file at the end.

    Raises
    ------
    RunError
        If another process, or another thread of this one, holds it.
    """
    file = _locked(path, busy)
    try:
        yield
    finally:
        if file is not None:
            if remove:
                with suppress(OSError):
                    path.unlink()  # first: who opens it now sees that the file is another one
            file.close()


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Make a folder that no other process works in until the block ends; wait for one that does.

    At the end the folder is deleted if nothing is in it.

    Yields
    ------
    Path
        The folder, in which a killed process may have left something. On systems and disks without locks a new one,
        with another name.

    Raises
    ------
    OSError
        If the folder cannot be made, or is a link.
    """
    descriptor = _held_folder(folder)
    own = folder if descriptor is not None else Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        yield own
    finally:
        with suppress(OSError):
            own.rmdir()  # first: who waits for it sees that it is gone
        if descriptor is not None:
            os.close(descriptor)


def _held_folder(folder: Path) -> int | None:
    """Make a folder and lock it; its descriptor, or None if there are no locks."""
    try:
        import fcntl  # Windows has none
    except ImportError:
        return None
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its holder has just deleted it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
            os.close(descriptor)
        except FileNotFoundError:
            os.close(descriptor)
        except OSError:  # the disk has no locks
            os.close(descriptor)
            with suppress(OSError):
                folder.rmdir()
            return None
        except BaseException:  # Ctrl-C while it waits
            os.close(descriptor)
            raise


def _locked(path: Path, busy: str) -> IO[str] | None:
    try:
        import fcntl  # Windows has none
    except ImportError:
        return None
    while True:
        try:
            file = path.open("a+", encoding="utf-8", errors="replace")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                _sign(file)
                return file
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            file.close()
            raise RunError(busy.format(holder=holder)) from error
        except FileNotFoundError:
            pass  # its holder has just deleted it
        except OSError:
            file.close()
            return None  # the disk has no locks
        file.close()


def _sign(file: IO[str]) -> None:
    """Say in the file who holds it."""
    with suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
        file.flush()
