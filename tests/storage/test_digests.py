from __future__ import annotations

import hashlib
from pathlib import Path

from gbad.storage.digests import bytes_digest, head_digests


def test_heads_of_many_files_come_in_order_and_those_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(200)]  # more than are open at a time
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number * 50)
    paths[70].unlink()
    paths[80].unlink()
    paths[80].mkdir()
    expected = [
        None if number in (70, 80) else bytes_digest((b"%d" % number * 50)[:40]) for number in range(len(paths))
    ]
    assert list(head_digests(paths, 40)) == expected
    assert expected[0] == hashlib.blake2b(b"0" * 40, digest_size=16).digest()


def test_files_opened_ahead_are_closed_when_nobody_asks_for_them(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(100)]
    for path in paths:
        path.write_bytes(b"x")
    heads = head_digests(paths, 40)
    assert next(heads) == bytes_digest(b"x")
    heads.close()  # type: ignore[attr-defined] # pytest fails where a file is left open: warnings are errors
