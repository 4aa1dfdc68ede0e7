"""Implementations that compute the right numbers in the wrong order, type, place or company."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._correct import DEFAULTS, Correct


class SumForMean(Correct):
    def reduce(self, loss: Any, reduction: str) -> Any:
        return super().reduce(loss, "sum" if reduction == "mean" else reduction)

    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        return super().weights(rows, "sum" if reduction == "mean" else reduction, cotangent)


class RowsReversed(Correct):
    def reduce(self, loss: Any, reduction: str) -> Any:
        return super().reduce(loss[::-1], reduction)


class RemainderDropped(Correct):
    """Rows that do not fill a block are left out."""

    def blocks(self, n: int, size: int) -> list[Any]:
        return [rows for rows in super().blocks(n, size) if len(rows) == min(size, n)]


class LastBlockTwice(Correct):
    """The last block starts early so as to be full, and its first rows count twice."""

    def blocks(self, n: int, size: int) -> list[Any]:
        return [np.arange(rows[-1] + 1 - min(size, n), rows[-1] + 1) for rows in super().blocks(n, size)]


class WrongDtype(Correct):
    """float32 inputs give a float64 loss."""

    def reduce(self, loss: Any, reduction: str) -> Any:
        return np.asarray(super().reduce(loss, reduction), np.float64)


class InputsModified(Correct):
    """Normalises in place."""

    def unit(self, given: Any, x: Any) -> Any:
        unit = super().unit(given, x)
        if given.flags.writeable:
            given[...] = unit
        return unit


class NotDeterministic(Correct):
    """The last bits change from call to call."""

    calls = 0

    def reduce(self, loss: Any, reduction: str) -> Any:
        self.calls += 1
        return super().reduce(loss, reduction) * self.work(1 + 2.0**-22 * (self.calls % 2))


class NanHidden(Correct):
    def reduce(self, loss: Any, reduction: str) -> Any:
        return super().reduce(np.nan_to_num(loss), reduction)


class NanSpread(Correct):
    """One NaN row makes every row's loss NaN."""

    def reduce(self, loss: Any, reduction: str) -> Any:
        return super().reduce(loss + 0 * np.sum(loss), reduction)


class NoChecks(Correct):
    def check(self, arrays: dict[str, Any], temperature: Any, options: dict[str, Any]) -> None:
        pass


class Assertions(Correct):
    """Refuses what it should, by assertions."""

    def check(self, arrays: dict[str, Any], temperature: Any, options: dict[str, Any]) -> None:
        try:
            super().check(arrays, temperature, options)
        except (TypeError, ValueError) as error:
            raise AssertionError(str(error)) from error


class SpeechlessErrors(Correct):
    """The right type of error, and no word about what is wrong."""

    def check(self, arrays: dict[str, Any], temperature: Any, options: dict[str, Any]) -> None:
        try:
            super().check(arrays, temperature, options)
        except (TypeError, ValueError) as error:
            raise type(error)("invalid arguments") from error


class AnotherDefault(Correct):
    """Adds the batch's rows up unless told otherwise."""

    defaults = DEFAULTS | {"reduction": "sum"}
