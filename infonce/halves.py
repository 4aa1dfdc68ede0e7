"""Rows as tensor cores multiply them, and the passes that a backend may fuse with their product."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Halved(NamedTuple):
    """Rows as bfloat16 multiplies them; or, without factor, those of another dtype."""

    rows: Any  # (N, D): without rounding; without factor what `frame.sphere` made, as `Fused.prepared` rounds it
    factor: Any  # (N, 1), float32: times this they are what `frame.sphere` made of them; None: 1
    rounded: Any  # (N, D): what the gradient's products multiply: that in bfloat16, or without factor as it is


def of_halves(fused: Fused | None, rows: Halved | None) -> bool:
    """Whether the passes over these rows are fused and hold halves, of which a block may have more rows."""
    return fused is not None and rows is not None and rows.factor is not None


class Fused(Protocol):
    """The product of rows and the exponentials of bounded logits z in one pass, which stores no logit.

    A row's own entries, no candidates, are (i, first_row + i) and, with a period, its multiples before and after.
    """

    def prepared(self, rows: Halved) -> Halved:
        """The rows as the passes take them."""
        ...

    def exponentials(self, rows: Halved, keys: Halved, first_row: Any) -> tuple[Any, Any, Any]:
        """(p, loss, slope) of `Arithmetic.against_others`, where |z| is bounded."""
        ...

    def totals(
        self, rows: Halved, keys: Halved, first_row: Any, period: Any = None, columns: bool = True
    ) -> tuple[Any, Any, Any]:
        """The sums of exp(z) over rows, (B, 1), with `columns` over columns, (1, M), and without period the own z."""
        ...

    def weighted(
        self, rows: Halved, keys: Halved, first_row: Any, row: Any, column: Any, own: Any = None, period: Any = None
    ) -> Any:
        """exp(z_ij) (row_i + column_j), in the rows' dtype, and at own entries `own`, (B, 1) or 0."""
        ...
