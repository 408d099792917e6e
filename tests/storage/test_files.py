from __future__ import annotations

import errno
import json
import math
import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from gbad.errors import GbadError, RunError
from gbad.runtime.progress import progress_bar
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.digests import digest
from gbad.storage.files import atomic_path, read_json, read_sealed, remove_leftovers, write_json, write_sealed
from gbad.storage.ledger import claim


def test_the_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent.parent == path.parent
        assert temporary.suffix == ".txt"
    assert path.read_text() == "half"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError, ValueError])
def test_an_error_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")
    with pytest.raises((error, GbadError)), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("newer")
        raise error("stop")
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_folders_appear_whole_too(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "part").touch()
    assert os.listdir(tmp_path / "folder") == ["part"]


def test_every_writer_reports_a_full_disk_in_the_same_way(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    values = np.zeros(1000)
    writers: dict[str, Callable[[Path], object]] = {
        "text": lambda path: path.write_text("x" * 8000),
        "numpy": lambda path: np.save(path, values),
        "torch": lambda path: torch.save(torch.from_numpy(values), path),
    }
    for name, write in writers.items():
        path = tmp_path / f"{name}.npy"
        path.write_text("older")
        with full_disk(1000), pytest.raises(GbadError, match=f"{name}.npy: cannot be written") as caught:  # noqa: SIM117
            with atomic_path(path) as temporary:
                write(temporary)
        assert "free some space" in str(caught.value)
        assert path.read_text() == "older"
    assert len(os.listdir(tmp_path)) == len(writers)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GbadError, match=r"file/report\.json: cannot be written \(Not a directory|File exists"):
        write_json(tmp_path / "file" / "report.json", {})


def test_written_files_can_be_read_by_those_who_may_read_the_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {})
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_json_takes_what_results_hold(tmp_path: Path) -> None:
    content = {
        "nan": math.nan, "array": np.array([1.5, math.nan]), "int": np.int64(3), "tuple": (1, True, None),
        5: Path("a"), "text": "ü",
    }  # fmt: skip
    write_json(tmp_path / "file.json", content)
    expected = {"nan": None, "array": [1.5, None], "int": 3, "tuple": [1, True, None], "5": "a", "text": "ü"}
    assert read_json(tmp_path / "file.json") == expected
    assert "NaN" not in (tmp_path / "file.json").read_text(encoding="utf-8")


def test_damaged_json_is_named(tmp_path: Path) -> None:
    for content in (b'{"a": ', b"\xff\xfe", b""):
        (tmp_path / "file.json").write_bytes(content)
        with pytest.raises(GbadError, match=r"file\.json: not valid JSON.*Delete the file"):
            read_json(tmp_path / "file.json")


def test_sealed_files_are_what_was_written_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "done.json"
    write_sealed(path, {"seconds": np.float64(1.5), "nan": math.nan, "sizes": (1, 2)})
    assert read_sealed(path) == {"seconds": 1.5, "nan": None, "sizes": [1, 2]}
    whole = path.read_text()
    for damaged in (whole.replace("1.5", "1.6"), whole.replace("seconds", "sekonds"), "[1]", "3"):
        path.write_text(damaged)
        with pytest.raises(RunError, match=r"done\.json: damaged.*Delete it and run the same command again"):
            read_sealed(path)
    path.write_text('{"seconds": 1}')  # of before
    assert read_sealed(path) == {"seconds": 1}


def test_a_run_folder_is_claimed_once(tmp_path: Path) -> None:
    content = {"data": "a", "settings": {"epochs": 3, "sizes": (1, 2)}}
    claim(tmp_path, content, {"max_bad": 0.01})
    claim(tmp_path, content, {"max_bad": 0.5})
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["max_bad"] == 0.5
    assert told["versions"] == library_versions()
    assert told["hardware"] == hardware()


def test_digests_tell_contents_and_shapes_apart() -> None:
    array = np.arange(6, dtype=np.uint8)
    found = [
        digest(array), digest(array.reshape(2, 3)), digest(array.reshape(3, 2)), digest(array.astype(np.int8)),
        digest(array[::-1]), digest(["ab", "c"]), digest(["a", "bc"]), digest(["a"], ["b"]), digest(["a", "b"]),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert digest(np.asfortranarray(array.reshape(2, 3))) == digest(array.reshape(2, 3))


def test_progress_goes_to_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    for show in (True, False):
        with progress_bar("decoding [/]", 10, show=show) as advance:
            advance(4)
            advance(6, 20)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert bool(captured.err) == show


WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from threading import Thread
from gbad.storage.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    temporary.write_text("whole")
"""


@pytest.fixture
def writer(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start a process that writes a file, and waits in the middle of it until another file is there."""

    def begin(path: Path, until: Path = Path("never")) -> subprocess.Popen[str]:
        process = start("-c", WRITE_AND_WAIT, path, until)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    return begin


def test_the_next_writer_removes_what_a_killed_one_has_left(
    writer: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    pytest.importorskip("fcntl", reason="the system has no locks on files")
    path, foreign = tmp_path / "file.txt", tmp_path / ".file.txt.mine"
    foreign.mkdir()
    (foreign / "file.txt").touch()
    for _ in range(2):
        process = writer(path)
        process.kill()
        process.communicate()
        assert len(os.listdir(tmp_path)) == 2
    write_json(path, {})
    assert sorted(os.listdir(tmp_path)) == [foreign.name, "file.txt"]
    assert os.listdir(foreign) == ["file.txt"]
    process = writer(tmp_path / "other.txt")
    process.kill()
    process.communicate()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [foreign.name, "file.txt"]


def test_names_of_any_length_can_be_written(
    writer: Callable[..., subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="the system has no locks on files")
    names = ["a" * 236, "a" * 245, "a" * 255, "ä" * 127]
    for name in names:
        write_json(tmp_path / name, name)
    process = writer(tmp_path / names[2])
    process.kill()
    process.communicate()
    assert len(os.listdir(tmp_path)) == len(names) + 1
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    with atomic_path(tmp_path / names[1]) as one, atomic_path(tmp_path / names[2]) as other:  # which begin alike
        assert one.parent != other.parent
        one.write_text('"one"')
        other.write_text('"other"')

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name in names:
        write_json(tmp_path / name, {})
        assert read_json(tmp_path / name) == {}
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_what_looks_like_a_leftover_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".file.gbad").write_text("own")
    (tmp_path / ".folder.gbad").mkdir()
    (tmp_path / ".folder.gbad" / "own").write_text("own")
    (tmp_path / ".link.gbad").symlink_to(tmp_path / ".folder.gbad")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".file.gbad", ".folder.gbad", ".link.gbad"]
    assert (tmp_path / ".folder.gbad" / "own").read_text() == "own"


def test_what_a_living_process_writes_is_left_to_it(
    writer: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    pytest.importorskip("fcntl", reason="the system has no locks on files")
    path, go = tmp_path / "folder" / "file.txt", tmp_path / "go"
    process, second = writer(path, go), Thread(target=write_json, args=(path, {}))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go.touch()
    _, err = process.communicate()
    assert process.returncode == 0, err
    second.join(60)
    assert path.read_text() == "{}\n"
    assert os.listdir(path.parent) == ["file.txt"]


def test_without_locks_a_file_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl", reason="the system has no locks on files")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("whole")
        with atomic_path(tmp_path / "file.txt") as other:  # which is not the same folder
            other.write_text("other")
        assert temporary.read_text() == "whole"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_link_in_the_place_of_the_hidden_folder_is_not_followed(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="the system has no locks on files")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file.json").write_text("precious")
    (tmp_path / ".file.json.gbad").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GbadError, match="cannot be written"):
        write_json(tmp_path / "file.json", {})
    assert (tmp_path / "elsewhere" / "file.json").read_text() == "precious"
