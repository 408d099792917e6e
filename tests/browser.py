"""Look at a page in headless Chromium, at the widths of a desk and of a telephone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1280, 500)

_PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_SCRIPT = """
<script>
addEventListener("load", () => {
  const root = document.documentElement, folded = root.scrollWidth;
  for (const one of document.querySelectorAll("details")) one.open = true;
  const kinds = "h1, h2, h3, p, th, td, dd, figure, figcaption, .scroll, .card div, .tile div";
  const boxes = [...document.querySelectorAll(kinds)];
  const found = {
    inner: innerWidth, folded: folded, unfolded: root.scrollWidth, images: document.images.length,
    broken: [...document.images].filter(one => !one.naturalWidth).map(one => one.alt),
    cut: boxes.filter(one => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
      .map(one => one.tagName + " " + one.className + ": " + one.textContent.trim().slice(0, 60)),
    thin: [...document.querySelectorAll("th, td")].filter(one => one.textContent.trim().length > 2)
      .filter(one => one.clientWidth && one.clientWidth < 25).map(one => one.textContent.trim().slice(0, 60)),
    small: [...document.querySelectorAll(".plot svg text")].map(one => one.getBoundingClientRect().height)
      .filter(height => height && height < 8).length,
  };
  const place = document.createElement("pre");
  place.id = "looked";
  place.textContent = JSON.stringify(found);
  document.body.append(place);
});
</script>
"""


def look(page: Path, width: int, folder: Path) -> dict[str, Any]:
    """What Chromium says of a page that is shown `width` pixels wide; a copy of it and a profile go to `folder`."""
    if _PROGRAM is None:
        pytest.skip("there is no Chromium on this machine")
    source = page.read_text(encoding="utf-8")
    source = source.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    source = source.replace('loading="lazy"', "")  # all pictures are there at the load event
    copy = folder / f"{page.stem}-{width}.html"
    copy.write_text(source.replace("</body>", f"{_SCRIPT}</body>"), encoding="utf-8")
    command = [
        _PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="looked">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    looked: dict[str, Any] = json.loads(html.unescape(found[1]))
    return looked


def assert_fits(page: Path, folder: Path, *, images: int) -> None:
    """Fail if a page is wider than the window, cuts anything off, or lacks a picture, at any of `WIDTHS`."""
    for width in WIDTHS:
        found = look(page, width, folder)
        assert found["inner"] == width
        assert found["folded"] <= width
        assert found["unfolded"] <= width
        assert not found["cut"], width
        assert not found["broken"]
        assert found["images"] >= images
        assert not found["thin"], width
        assert not found["small"], width
