"""The site builds without a warning, and shows what it promises."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning, say of a link to a heading that is not there, fails the build."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--out", str(out)],
        capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return out / "site"


def test_each_link_of_the_site_leads_to_a_file(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html" or "data" in page.relative_to(site).parts:
            continue
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", target):
                assert (page.parent / unquote(target)).exists(), f"{page}: {target}"


def test_the_site_asks_no_other_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="https?:', page.read_text(encoding="utf-8")), page


def test_equations_are_drawn_and_docstrings_are_there(site: Path) -> None:
    background = (site / "background.html").read_text(encoding="utf-8")
    source = (ROOT / "docs" / "background.md").read_text(encoding="utf-8")
    assert background.count('class="equation"') == source.count("```math") > 5
    assert "gbad.pipeline.GBADPipeline.explain" in (site / "reference" / "front-door.html").read_text(encoding="utf-8")
    assert "--validation-fraction" in (site / "reference" / "commands.html").read_text(encoding="utf-8")
