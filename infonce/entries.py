"""What is asked of any array, and what stands where in a block of logits: own entries, pairs of a sample, rows."""

from __future__ import annotations

import math
from typing import Any, Protocol


class Arrays(Protocol):
    """The namespace of the standard's functions, and what can be asked of an array."""

    @property
    def xp(self) -> Any: ...

    def shape(self, x: Any) -> tuple[int | None, ...]:
        """The shape, with None where it is not known yet."""
        ...

    def dtype(self, x: Any) -> str:
        """The dtype's usual name, such as "float32"."""
        ...

    def size(self, x: Any) -> Any:
        """The number of rows of `x`: an int; where it is not known yet an integer tensor, or torch's symbol of one."""
        ...

    def indices(self, like: Any, n: Any) -> Any:
        """(1, n): the integers from 0 on, on the device of `like`."""
        ...


class Entries(Arrays, Protocol):
    """Entries read and written: the array named first may be written in place, and is lost."""

    def own(self, x: Any, first_row: Any) -> Any:
        """The entries (i, first_row + i) of `x`, (B, 1)."""
        xp = self.xp
        return xp.sum(xp.where(self._is_own(x, first_row), x, xp.zeros_like(x)), axis=-1, keepdims=True)

    def write_own(self, x: Any, first_row: Any, value: Any) -> Any:
        """`x` with `value`, a number or (B, 1), at (i, first_row + i)."""
        value = self.xp.full_like(x[:, :1], value) if isinstance(value, float) else value
        return self.xp.where(self._is_own(x, first_row), value, x)

    def write_own_after(self, x: Any, first_row: Any, value: Any) -> Any:
        """`write_own` of what is made of `x` itself."""
        return self.write_own(x, first_row, value)

    def _is_own(self, x: Any, first_row: Any) -> Any:
        columns = self.shape(x)[1] or self.size(self.xp.matrix_transpose(x))
        rows = self.xp.matrix_transpose(self.indices(x, self.size(x)))
        return self.indices(x, columns) == rows + first_row

    def leave_out(self, x: Any, absent: Any) -> Any:
        """`x` with -inf where a candidate is absent."""
        return self.xp.where(absent, self.xp.full_like(x[:1, :1], -math.inf), x)

    def mask_visit(self, x: Any, rows: Any, views: int) -> Any:
        """`x` of `cyclic` with -inf where a row's partner is not of its visit, or of the same sample.

        A row's partners are half of all `rows`, those ahead of it, cyclically. With an odd number of views the row
        opposite may be a negative, which both rows of the pair visit: each counts it half.
        """
        absent, opposite = self.outside_visit(x, rows, views)
        if opposite is not None:
            x = self.xp.where(opposite, x + math.log(0.5), x)
        return self.leave_out(x, absent)

    def outside_visit(self, x: Any, rows: Any, views: int) -> tuple[Any, Any]:
        """For `mask_visit`: which pairs are absent, and which are opposite each other if those count half."""
        xp, total = self.xp, self.size(rows)
        samples, half = total // views, total // 2
        i, j = xp.matrix_transpose(self.indices(x, self.size(x))), self.indices(x, self.size(x) + half)
        if not isinstance(samples, int):
            samples = xp.maximum(samples, xp.ones_like(samples))  # unknown, and perhaps 0
        absent = (j <= i) | (j > i + half) | (j % samples == i % samples)
        opposite = ~absent & (2 * j == 2 * i + total) if views % 2 else None
        return absent, opposite

    def mask_samples(self, x: Any, samples: int, views: int) -> Any:
        """`x` of all rows against all, with -inf where both are of the same sample."""
        sample = self.indices(x, self.size(x)) % max(samples, 1)
        return self.leave_out(x, sample == self.xp.matrix_transpose(sample))

    def take(self, x: Any, first_row: Any, rows: Any) -> Any:
        """As many rows of `x` from `first_row` on; perhaps a view."""
        return x[first_row : first_row + rows, ...]

    def put(self, x: Any, first_row: Any, rows: Any) -> Any:
        """`x` with `rows` in place of its own from `first_row` on."""
        ...
