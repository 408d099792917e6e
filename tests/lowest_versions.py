"""Print pip constraints: the lowest version of each dependency that pyproject.toml allows; see `make test-lowest`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def lowest(requirements: list[str]) -> list[str]:
    """Turn ``name>=1.2,!=1.3`` into ``name==1.2``; what has no lower bound is left out."""
    found = [re.match(r"([\w-]+)(?:\[.*?\])?>=([\w.]+)", requirement) for requirement in requirements]
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tools = [requirement for requirement in extras["dev"] if requirement.startswith("pytest")]
    sys.stdout.write("\n".join(lowest([*project["dependencies"], *extras["lite0"], *tools])) + "\n")
