"""Error messages for the options that make the family: in the words of `checks`."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from .backend import Backend
from .checks import FLOATS, Shape, fits, flag, floating, shown


def numbers(
    label_smoothing: object,
    margin: object,
    decoupled: object,
    debias: object,
    hardness: object,
    normalize: bool,
    exclude_positives: object = False,
) -> None:
    """Check the options that change the closed form, and which of them contradict each other."""
    number("label_smoothing", label_smoothing, 0, 1)
    number("margin", margin, -math.inf, math.inf)
    number("debias", debias, 0, 1)
    number("hardness", hardness, 0, math.inf)
    flag("decoupled", decoupled)
    flag("exclude_positives", exclude_positives)
    if label_smoothing and (decoupled or debias or hardness):
        given = {"decoupled": decoupled, "debias": debias, "hardness": hardness}
        other = next(name for name, value in given.items() if value)
        raise ValueError(
            f"label_smoothing and {other} exclude each other: there is no distribution over the candidates to smooth; "
            f"received label_smoothing={label_smoothing!r} and {other}={given[other]!r}. Leave one of them out."
        )
    if not normalize and (debias or hardness):
        name, value = ("debias", debias) if debias else ("hardness", hardness)
        raise ValueError(
            f"{name} needs cosine similarities, which bound the negatives' mean; received {name}={value!r} with "
            "normalize=False. Leave normalize at True."
        )
    if exclude_positives and (decoupled or label_smoothing):
        other = "decoupled" if decoupled else "label_smoothing"
        raise ValueError(
            f"exclude_positives and {other} exclude each other: each positive has a denominator of its own; received "
            f"exclude_positives=True and {other}={decoupled or label_smoothing!r}. Leave one of them out."
        )


def number(name: str, value: Any, least: float, below: float) -> None:
    """A number from `least` on and less than `below`, and finite."""
    if isinstance(value, bool) or not isinstance(value, (float, Real)):
        raise TypeError(f"{name} must be a number; received {value!r}.")
    if not (least <= float(value) < below and float(value) > -math.inf):
        allowed = (
            f"at least {least} and less than {below}"
            if math.isfinite(below)
            else ("finite" if least < 0 else "finite and not negative")
        )
        raise ValueError(f"{name} must be {allowed}; received {value!r}.")


def rows_of_numbers(b: Backend, name: str, x: Any, first: str, rows: int | None) -> None:
    """(N,), floating point."""
    floating(b, name, x)
    vector(b, name, x, first, rows)


def vector(b: Backend, name: str, x: Any, first: str, rows: int | None) -> None:
    shape = b.shape(x)
    if len(shape) != 1 or not fits(shape[0], rows):
        raise ValueError(
            f"{name} must have shape (N,), one for each of the {shown_size(rows)} rows of {first}; received shape "
            f"{shown(shape)}."
        )


def integers(b: Backend, name: str, x: Any) -> None:
    dtype = b.dtype(x)
    if not dtype.startswith(("int", "uint")):
        raise TypeError(f"{name} must be integers; received {dtype}. Number the samples, or hash their names.")


def booleans(b: Backend, name: str, x: Any) -> None:
    dtype = b.dtype(x)
    if dtype != "bool":
        raise TypeError(f"{name} must be booleans, True for what counts; received {dtype}. Compare it, as in x != 0.")


def negative_ids(b: Backend, x: Any, ids: Any, negatives: Any) -> None:
    """(M,) for shared negatives, (N, K) for paired ones."""
    if ids is None:
        raise ValueError("negative_ids needs the queries' own: pass ids, (N,), as well.")
    if negatives is None:
        raise ValueError("negative_ids needs negative_keys; received None. Pass them, or leave negative_ids out.")
    integers(b, "negative_ids", x)
    if b.dtype(x) != b.dtype(ids):
        raise TypeError(
            f"ids and negative_ids must have the same dtype; received {b.dtype(ids)} and {b.dtype(x)}. Cast one."
        )
    shape, wanted = b.shape(x), b.shape(negatives)[:-1]
    if len(shape) != len(wanted) or not all(map(fits, shape, wanted)):
        raise ValueError(
            f"negative_ids must have one id for each negative, shape {shown(wanted)}; received shape {shown(shape)}."
        )


def positives_fit(labels: object, positives: object, form: object, exclude_positives: object) -> None:
    if (labels is None) == (positives is None):
        received = "neither" if labels is None else "both"
        raise ValueError(
            f"sup_con needs labels or positives, and one of them alone; received {received}. For views of unlabelled "
            "samples take nt_xent."
        )
    if form == "in" and exclude_positives:
        raise ValueError(
            'exclude_positives has no form "in": each positive has a denominator of its own. Leave form at "out".'
        )


def positives(b: Backend, x: Any, embeddings: Shape) -> None:
    """(R, R), booleans or floating point."""
    if b.dtype(x) != "bool" and b.dtype(x) not in FLOATS:
        raise TypeError(
            f"positives must be booleans, or floating-point weights; received {b.dtype(x)}. Compare or cast."
        )
    samples, views = embeddings[0], 1 if len(embeddings) == 2 else embeddings[1]
    rows, shape = None if samples is None or views is None else samples * views, b.shape(x)
    if len(shape) != 2 or not fits(shape[0], rows) or not fits(shape[1], rows):
        raise ValueError(
            f"positives must have shape {shown((rows, rows))}, one row and one column for each row of embeddings; "
            f"received shape {shown(shape)} for embeddings of shape {shown(embeddings)}."
        )


def over_columns(b: Backend, name: str, x: Any, rows: int | None, columns: int | None, broadcast: bool) -> None:
    """What belongs to (N, columns): anything that broadcasts, or one for each column."""
    shape = b.shape(x)
    row_size, column_size = ((1,) * (2 - len(shape)) + shape)[:2] if len(shape) <= 2 else (None, None)
    all_rows = row_size == 1 or fits(row_size, rows)
    all_columns = fits(column_size, columns) or (broadcast and column_size == 1)
    if len(shape) > 2 or not all_rows or not all_columns or (not shape and not broadcast):
        either = f"{shown((columns,))} or {shown((rows, columns))}"
        form = f"broadcast to {shown((rows, columns))}" if broadcast else f"have shape {either}"
        raise ValueError(
            f"{name} must {form}, (N, columns), the columns being the batch's keys where they are candidates, then the "
            f"explicit negatives; received shape {shown(shape)}."
        )


def shown_size(size: int | None) -> str:
    return "?" if size is None else str(size)
