"""Trials of commands: kills, full disks, company, damaged run folders. Each takes a stage and a generator."""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

from chaos.mutations import mutated
from chaos.processes import command
from chaos.stage import NotHeld, Stage


def kill(stage: Stage, random: Random) -> str:
    """Kill a command up to three times at random moments, then let it end: the result is the undisturbed one."""
    name = random.choice([*stage.commands, "train", "predict"])
    at, spec = stage.fresh("kill"), stage.commands[name]
    for _ in range(random.randint(1, 3)):
        process = command(spec.arguments(at), stage.folder / "log")
        time.sleep(random.uniform(0, 1.1 * stage.seconds[name]))
        process.kill()
        process.wait()
    ended = command(spec.arguments(at), stage.folder / "log").wait()
    stage.check_ended(ended, (0,))
    stage.check_result(name, at)
    return name


def disk(stage: Stage, random: Random) -> str:
    """Let a command meet a full disk, then give it room: a clear message, and then the undisturbed result."""
    name = random.choice(list(stage.commands))
    spec = stage.commands[name]
    with _small_disk(stage, random) as (at, before, widen):
        small = command(spec.arguments(at), stage.folder / "log", before).wait()
        stage.check_ended(small)
        widen()
        ended = command(spec.arguments(at), stage.folder / "log").wait()
        stage.check_ended(ended, (0,))
        stage.check_result(name, at)
    return f"{name} ({'refused' if small.status else 'it fitted'})"


@contextmanager
def _small_disk(
    stage: Stage, random: Random
) -> Iterator[tuple[Path, Callable[[], object], Callable[[], object]]]:  # fmt: skip
    """A folder, what to call in the process that is to meet a full disk, and what makes room."""
    at = stage.fresh("disk")
    size = int(2 ** random.uniform(10, 22))
    if not can_mount() or random.random() < 0.3:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))  # noqa: E731
        yield at, limit, lambda: None
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 65536)}", "tmpfs", at], check=True)
    try:
        yield at, lambda: None, lambda: subprocess.run(["mount", "-o", "remount,size=256M", at], check=True)
    finally:
        subprocess.run(["umount", "-l", at], check=True)


@cache
def can_mount() -> bool:
    """Whether a small disk can be made here; else a limit on the size of files stands for it."""
    with tempfile.TemporaryDirectory(prefix="chaos-mount-") as probe:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=65536", "tmpfs", probe], capture_output=True).returncode:
            return False
        subprocess.run(["umount", probe], check=True)
    return True


def company(stage: Stage, random: Random) -> str:
    """Start a command twice at once: one ends well, the other too or says who is there; the result is one."""
    name = random.choice(list(stage.commands))
    at, spec = stage.fresh("company"), stage.commands[name]
    first = command(spec.arguments(at), stage.folder / "log")
    time.sleep(random.uniform(0, stage.seconds[name]))
    second = command(spec.arguments(at), stage.folder / "log2")
    if random.random() < 0.3:
        time.sleep(random.uniform(0, stage.seconds[name]))
        first.kill()
    both = [first.wait(), second.wait()]
    for ended in both:
        if ended.status != -9:
            stage.check_ended(ended)
        if ended.status == 1 and (spec.shared or "process" not in ended.err):
            raise NotHeld(f"{name}: another reason than the other process: {ended.err[-500:]}")
    if not any(ended.status == 0 for ended in both):  # the second was refused, then the first was killed
        stage.check_ended(command(spec.arguments(at), stage.folder / "log").wait(), (0,))
    if both[0].status == -9:
        stage.check_ended(command(spec.arguments(at), stage.folder / "log").wait(), (0,))
    stage.check_result(name, at)
    return name


def run_folder(stage: Stage, random: Random) -> str:
    """Damage a file of an unfinished run folder and go on: the undisturbed pipeline, or a message that names a file."""
    at = stage.fresh("run folder")
    arguments = stage.commands["train"].arguments(at)
    last = random.choice([1, 2, None])
    process = command([*arguments, *(["--stop-after", last] if last else [])], stage.folder / "log")
    if last is None:
        time.sleep(random.uniform(0.2, 1) * stage.seconds["train"])
        process.kill()
    process.wait()
    files = sorted(path for path in (at / "run").rglob("*") if path.is_file() and path.name != "lock")
    if not files:
        return "nothing there"
    victim = random.choice(files)
    victim.write_bytes(mutated(victim.read_bytes(), random))
    name = str(victim.relative_to(at / "run"))
    ended = command(arguments, stage.folder / "log").wait()
    stage.check_ended(ended)
    if ended.status == 1 and str(at) not in ended.err.replace("\n", ""):
        raise NotHeld(f"{name}: no file is named: {ended.err[-500:]}")
    if ended.status == 0 and (at / "run" / "pipeline.joblib").read_bytes() != stage.pipeline.read_bytes():
        raise NotHeld(f"{name}: another pipeline, without a word. {ended.err[-300:]}")
    return name
