from __future__ import annotations

import ctypes
import sys

import pytest

from gbad.runtime.allocator import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is on Linux only")
def test_it_is_set_where_the_c_library_has_it() -> None:
    has_it = hasattr(ctypes.CDLL(None), "mallopt")
    assert keep_freed_memory() == has_it
    assert keep_freed_memory() == has_it  # twice is no mistake


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
