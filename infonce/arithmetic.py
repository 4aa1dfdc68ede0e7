"""What a framework adds to the Array API standard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from . import rows
from .blocks import FUNCTIONAL, Blocks
from .entries import Entries
from .halves import Fused, Halved

Body = Callable[[Any, tuple[Any, ...], Any], tuple[tuple[Any, ...], tuple[Any, ...]]]


class Arithmetic(Entries, Protocol):
    """What the engine computes with: a namespace of the standard's functions, and what the standard lacks."""

    def blocks(self) -> Blocks:
        return FUNCTIONAL

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        """Run `body(first_row, rows_of_the_block, sums) -> (outputs, sums)` over blocks of rows.

        Returns the outputs joined along the rows, and the last sums. The first block's sums are None, or `start()`,
        which is equivalent. An entry of `rows`, of the outputs or of the sums may be None throughout. An output that
        is `Held` stays in its blocks: as such it may be among the rows, but the first, of a later loop of these blocks.
        """
        ...

    # What follows may work in place: the argument named first is lost.

    def exp_shifted(self, x: Any, shift: Any, weight: Any = None, keep: bool = False, far: bool = False) -> Any:
        """exp(x - shift), times `weight`; `x` survives only with `keep`, until the next call with it.

        `far`, where `spreads`, asks for 0 in place of what is next to nothing.
        """
        e = self.xp.exp(x - shift)
        return e if weight is None else e * weight

    def exponential(self, x: Any) -> Any:
        return self.xp.exp(x)

    def spreads(self, temperature: Any) -> bool:
        """Whether cosines over it lie so far apart that their exponentials may be subnormal numbers, and cost a lot.

        So on a CPU that does not flush them to 0: it multiplies them a hundred times slower.
        """
        return False

    def times_sum(self, x: Any, rows: Any, columns: Any) -> Any:
        """x * (rows + columns), (B, 1) and (1, columns)."""
        return x * (rows + columns)

    def column_sums(self, x: Any) -> Any:
        """(1, columns)"""
        return self.xp.sum(x, axis=0, keepdims=True)

    def column_maxima(self, x: Any) -> Any:
        """(1, columns)"""
        return self.xp.max(x, axis=0, keepdims=True)

    def against_others(
        self,
        rows: Any,
        keys: Any,
        own: Any,
        first_row: Any,
        bounded: bool,
        halves: tuple[Halved, Halved] | None = None,
        far: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Of logits z = rows @ keys^T, whose positives z+ are the entries (i, first_row + i): (p, loss, slope).

        p is exp(z - m), and minus the sum of the others, the positive's own slope, in its place; m is their maximum in
        each row (0 where |z| is `bounded`). The others are those of `closed_form`. `own` are the rows' own keys. With
        `halves` of both sides those are multiplied, and p is rounded. `far` as for `exp_shifted`.
        """
        xp = self.xp
        z = self.scores(rows, keys) if halves is None else self.half_scores(*halves)
        positive = self.positive_scores(rows, own, z, first_row)
        z = self.write_own(z, first_row, -math.inf)
        if bounded:
            e = self.exponential(z)
            total = xp.sum(e, axis=-1, keepdims=True)
            lse = xp.log(total)
        else:
            largest = xp.max(z, axis=-1, keepdims=True)
            e = self.exp_shifted(z, largest, far=far)
            total = xp.sum(e, axis=-1, keepdims=True)
            lse = largest + xp.log(total)
        if halves is None:
            return self.write_own_after(e, first_row, -total), *self.closed_form(total, lse, positive)
        half = halves[1].rounded.dtype
        p = self.write_own_after(xp.astype(e, half), first_row, xp.astype(-total, half))
        return p, *self.closed_form(total, lse, positive)

    def closed_form(self, total: Any, lse: Any, positive: Any) -> tuple[Any, Any]:
        """softplus(lse - z+), the loss of each row, and its derivative over `total`: exp(z - m) times that is dL/dz.

        `total` is the sum of exp(z - m) over a row's negatives z, `lse` the logarithm of the sum of exp(z).
        """
        loss, missed = self.softplus(lse - positive)
        return loss, missed / total

    def half_products(self, *arrays: Any) -> Any:
        """The dtype of the arrays where it is bfloat16 and the device multiplies that faster than float32.

        The slopes of float16 leave its range.
        """
        return None

    def halved(self, x: Any, unit: Any, back: Any, half: Any, normalize: bool) -> Halved:
        """The rows `x`, which `half` holds, as it multiplies them; `frame.sphere` made `unit` of them.

        Without `half` they are `unit`.
        """
        if half is None:
            return Halved(unit, None, unit)
        xp, dtype = self.xp, unit.dtype
        x, rounded, one = xp.astype(x, dtype), xp.astype(unit, half), xp.ones_like(unit[:, :1])
        if not normalize:
            return Halved(xp.astype(x, half), (one if back is None else one / back), rounded)
        length, scale, over = back
        return Halved(xp.astype(x * scale, half), (one / length if over is None else one / (length * over)), rounded)

    def rounded_product(self, x: Any, row: Any, half: Any) -> Any:
        """x * row, (B, 1), rounded once."""
        return self.xp.astype(x * row, half)

    def fused(self, rows: Halved, keys: Halved, period: Any = None) -> Fused | None:
        """Passes over these rows' bounded logits that are fused with the product; None where there are none."""
        return None

    def product(self, a: Any, b: Any) -> Any:
        """a @ b, summed in float32 at least: of half precision, too."""
        return self.xp.matmul(a, b)

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        """total + a @ b; a total of None is zero."""
        return self.product(a, b) if total is None else total + self.product(a, b)

    def add_transposed(self, total: Any, p: Any, rows: Any) -> Any:
        """total + p^T @ rows; a total of None is zero."""
        return self.add_product(total, self.xp.matrix_transpose(p), rows)

    def add_both(self, total: Any, p: Any, rows: Any, partners: Any, first_row: Any) -> Any:
        """The total, and added from `first_row` on p @ partners and p^T @ rows."""
        for one, other in ((self.xp.matrix_transpose(p), rows), (p, partners)):
            own = self.take(total, first_row, self.size(one))
            total = self.put(total, first_row, self.add_product(own, one, other))
        return total

    def after(self, done: Any, x: Any) -> Any:
        """The arrays `x`, for what is to be computed after `done`, a matrix: made before, it would wait in memory."""
        return x

    def zeros_after(self, done: Any, like: Any) -> Any:
        """Zeros like `like`, made after `done`, a matrix (see `after`)."""
        return self.xp.zeros_like(like)

    def stop_gradient(self, x: Any) -> Any:
        """`x` as a constant to the framework's autodiff."""
        return x

    def of_one_size(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arrays; where only the run knows their sizes, it refuses those that differ."""
        return arrays

    # A framework may have faster kernels for these.

    def positive_scores(self, rows: Any, keys: Any, block: Any, first_row: Any) -> Any:
        """The product of each row with its own key, (B, 1): it stands in `block`, unless that is None, too."""
        return self.xp.sum(rows * keys, axis=-1, keepdims=True)

    def scores(self, rows: Any, keys: Any, part: int = 0, alone: bool = False) -> Any:
        """rows @ keys^T; the block before of the same part is lost.

        `alone`: they are bounded and meet no other array of their shape, so that they may lie in memory in any order.
        """
        return self.product(rows, self.xp.matrix_transpose(keys))

    def half_scores(self, rows: Halved, keys: Halved, part: int = 0) -> Any:
        """`scores` of halves, in float32."""
        z = self.scores(rows.rows, keys.rows, part)
        z *= rows.factor
        z *= self.xp.matrix_transpose(keys.factor)
        return z

    def unit_rows(self, x: Any, dtype: Any, over: Any = None) -> tuple[Any, Any]:
        """The rows over their norms, and over `over`, a number or an array; and what else the way back needs.

        Both in `dtype`.
        """
        unit, (length, scale) = rows.unit_rows(self.xp, self.xp.astype(x, dtype, copy=False))
        return (unit if over is None else unit / over), (length, scale, over)

    def through_unit_rows(self, gradient: Any, made: Any, back: Any) -> Any:
        """A gradient with respect to `made` as one with respect to what `unit_rows` was given; the gradient is lost.

        `made` and `back` are what that returned; `back` need not hold the rows, which the caller does anyway.
        """
        length, scale, over = back
        if over is not None:
            gradient, made = gradient / over, made * over
        return rows.through_unit_rows(self.xp, gradient, made, (length, scale))

    def softplus(self, x: Any) -> tuple[Any, Any]:
        """softplus(x) and its derivative, without cancellation at either end, and differentiable again at 0."""
        xp, above = self.xp, x >= 0
        small = xp.exp(xp.where(above, -x, x))
        one = xp.ones_like(x)
        loss = xp.where(above, x, xp.zeros_like(x)) + xp.log1p(small)
        return loss, xp.where(above, one, small) / (one + small)
