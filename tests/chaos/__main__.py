"""The command line: which trials, for how long, from which seed; and the page of what held."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

from chaos import disturbances, hostility
from chaos.stage import NotHeld, Stage, build

Trial = Callable[[Stage, Random], str]


@dataclass
class Kind:
    """A kind of trial, its share of the time, and what came of it."""

    trial: Trial
    share: float
    files: int = 1
    held: Counter[str] = field(default_factory=Counter)
    not_held: list[tuple[int, str]] = field(default_factory=list)


def kinds() -> dict[str, Kind]:
    return {
        "kill": Kind(disturbances.kill, 0.3),
        "disk": Kind(disturbances.disk, 0.15),
        "company": Kind(disturbances.company, 0.15),
        "run folder": Kind(disturbances.run_folder, 0.2),
        "images": Kind(hostility.images, 0.07, hostility.MANY),
        "headers": Kind(hostility.headers, 0.03, hostility.MANY),
        "pipelines": Kind(hostility.pipelines, 0.07, 5),
        "pickles": Kind(hostility.pickles, 0.03, hostility.MANY),
    }


def main() -> None:
    options = _options()
    chosen = {name: kind for name, kind in kinds().items() if options.only in (None, name)}
    begun = time.monotonic()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=options.folder) as folder:
        stage = build(Path(folder), lambda text: print(text, flush=True))
        end = begun + 60 * options.minutes
        left = sum(kind.share for kind in chosen.values())
        for name, kind in chosen.items():
            until = time.monotonic() + (end - time.monotonic()) * kind.share / left
            left -= kind.share
            seeds = Random(f"{options.seed} {name}")
            while True:
                seed = options.trial if options.trial is not None else seeds.randrange(10**9)
                _try(name, kind, stage, seed)
                if options.trial is not None or time.monotonic() >= until:
                    break
            print(f"{name}: {sum(kind.held.values())} held, {len(kind.not_held)} not", flush=True)
    if options.trial is None and options.only is None:
        from chaos.page import page

        minutes = (time.monotonic() - begun) / 60
        options.out.write_text(page(chosen, options.seed, options.minutes, minutes), encoding="utf-8")
        print(f"Written: {options.out}")
    sys.exit(any(kind.not_held for kind in chosen.values()))


def _try(name: str, kind: Kind, stage: Stage, seed: int) -> None:
    try:
        kind.held[kind.trial(stage, Random(seed))] += 1
    except NotHeld as error:
        kind.not_held.append((seed, str(error)))
        print(f"NOT HELD: --only '{name}' --trial {seed}\n{error}\n", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="of all trials; another one each time by default")
    parser.add_argument("--only", choices=list(kinds()), help="one kind of trial; nothing is written then")
    parser.add_argument("--trial", type=int, help="one trial again, by the number that was printed")
    parser.add_argument("--out", type=Path, default=Path("results/reliability.md"))
    parser.add_argument("--folder", type=Path, default=None, help="where trials work; default: the system's")
    options = parser.parse_args()
    options.seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    return options


if __name__ == "__main__":
    main()
