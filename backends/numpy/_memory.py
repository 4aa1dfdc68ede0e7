"""Memory for blocks that stays for the next call: fresh pages may cost as much as all that is computed in them.

A run takes it, and gives it back at its end; runs at the same time have their own. No result may lie in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Buffers = dict[int, Any]  # bytes, by the part that they are for

LEAST = 1 << 17  # bytes: less comes from pages that the process has at hand
MOST = 1 << 24  # bytes that stay

idle: list[Buffers] = []


def take() -> Buffers:
    try:
        return idle.pop()
    except IndexError:
        return {}


def room(buffers: Buffers, part: int, size: int) -> Any:
    """So many bytes, for which what the part had before is lost."""
    held = buffers.get(part)
    if held is None or held.size < size:
        buffers.pop(part, None)  # before there is more
        held = buffers[part] = np.empty(size, np.uint8)
    return held[:size]


def give(buffers: Buffers) -> None:
    if idle:
        return
    while sum(x.size for x in buffers.values()) > MOST:
        del buffers[max(buffers, key=lambda part: buffers[part].size)]
    idle.append(buffers)
