"""Damage of bytes, as disks, networks and accidents do it."""

from __future__ import annotations

from random import Random


def mutated(content: bytes, random: Random) -> bytes:
    """Damage a file's content in one of several ways; the result is always different."""
    for _ in range(20):
        damaged = random.choice(_WAYS)(content, random)
        if damaged != content:
            return damaged
    return content + b"\0"


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 8, 64]) if content else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zeros(content: bytes, random: Random) -> bytes:
    start, size = random.randrange(len(content) + 1), random.choice([1, 16, 512, 4096])
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def _missing(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + content[start + random.choice([1, 4, 512]) :]


def _twice(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[: start + random.choice([1, 4, 512])] + content[start:]


def _noise(content: bytes, random: Random) -> bytes:
    start, size = random.randrange(len(content) + 1), random.choice([1, 16, 512])
    return content[:start] + random.randbytes(len(content[start : start + size])) + content[start + size :]


def _behind(content: bytes, random: Random) -> bytes:
    return content + random.randbytes(random.choice([1, 16, 4096]))


def _empty(content: bytes, random: Random) -> bytes:
    return b""


_WAYS = (_cut, _flip, _zeros, _missing, _twice, _noise, _behind, _empty)
