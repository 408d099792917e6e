"""Files that one process at a time may hold. The lock goes with the process, however it ends."""

from __future__ import annotations

import os
import socket
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
