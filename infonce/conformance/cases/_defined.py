"""Unusual input that has a defined answer: no negatives, no rows, NaN rows, odd layouts, NumPy numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._errors import Foreign
from infonce.conformance.cases._judge import agrees, call, compare, exact, failure, together
from infonce.conformance.cases._programs import IN_BATCH_NONE, PAIRED_NONE
from infonce.conformance.model import Array, Case, Outcome, Program, Subject
from infonce.conformance.oracle import info_nce
from infonce.conformance.tolerance import loss_tolerance

ONE_ROW = Program("one-row", 1, 4)
NO_NEGATIVES = Program("no-negatives", 3, 4, (0,))
NO_PAIRED = Program("no-paired-negatives", 3, 4, (3, 0), options=(("negative_mode", "paired"),))
ONE_FEATURE = Program("one-feature", 5, 1, options=(("reduction", "none"),))
UNPAIRED_NONE = Program("unpaired-none", 4, 8, (5,), options=(("reduction", "none"),))


def cases() -> tuple[Case, ...]:
    return (*_without_negatives(), *_no_rows(), *_one_feature(), *_nan_rows(), *_layouts(), *_numbers())


def _case(title: str, program: Program, judge: Callable[[Subject], Outcome], compiled: bool = False) -> Case:
    return Case(f"errors/defined/{title}", "errors", (program,), judge, compiled=compiled)


def _without_negatives() -> Iterator[Case]:
    """Loss 0 and gradients 0, and a warning."""
    for program in (ONE_ROW, NO_NEGATIVES, NO_PAIRED):
        yield _case(f"{program.name}-is-zero", program, partial(_is_zero, program))
        yield _case(f"{program.name}-warns", program, partial(_warns, program))


def _is_zero(program: Program, subject: Subject) -> Outcome:
    return agrees(subject, program, draw(program.name, program, "normal", 0.1))


def _warns(program: Program, subject: Subject) -> Outcome:
    data = draw(program.name, program, "normal", 0.1)
    arrays = [x.astype(subject.dtype) for x in (data.query, data.positive_key, data.negative_keys) if x is not None]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        subject.raw(*arrays, **program.keywords)
    told = [str(warning.message) for warning in caught]
    if any("negative" in text for text in told):
        return Outcome()
    return failure("warnings", told, "one that there are no negatives", call(program, data, subject.dtype))


def _no_rows() -> Iterator[Case]:
    """N = 0: the sum is 0, the losses by row are none."""
    for reduction, shape in (("sum", ()), ("none", (0,))):
        for negatives in ((), ((3, 2),)):
            judge = partial(_empty, reduction, shape, negatives)
            kind = "unpaired" if negatives else "in-batch"
            yield _case(f"no-rows-{kind}-{reduction}", Program("no-rows", 0, 2), judge)


def _empty(reduction: str, shape: tuple[int, ...], negatives: tuple[Any, ...], subject: Subject) -> Outcome:
    empty = np.zeros((0, 2), subject.dtype)
    result = subject.raw(empty, empty, *(np.ones(x, subject.dtype) for x in negatives), reduction=reduction)
    if tuple(result.shape) == shape and (shape or float(result) == 0):
        return Outcome()
    want = "0" if reduction == "sum" else "an array of shape (0,)"
    return failure("result", result, want, f"info_nce(query(0, 2), ..., reduction={reduction!r})")


def _one_feature() -> Iterator[Case]:
    """D = 1: every cosine is 1 or -1, every gradient 0."""
    yield _case("one-feature", ONE_FEATURE, lambda s: agrees(s, ONE_FEATURE, draw("one", ONE_FEATURE, "normal", 0.5)))


def _nan_rows() -> Iterator[Case]:
    """A NaN stays in its own row, unless the key that it is in is shared."""
    places = {
        "query-in-batch": (IN_BATCH_NONE, "query", (2,)),
        "query-paired": (PAIRED_NONE, "query", (2,)),
        "positive-key-paired": (PAIRED_NONE, "positive_key", (2,)),
        "negative-paired": (PAIRED_NONE, "negative_keys", (2, 1)),
        "shared-key": (IN_BATCH_NONE, "positive_key", (2,)),
        "shared-negative": (UNPAIRED_NONE, "negative_keys", (1,)),
        "query-unpaired": (UNPAIRED_NONE, "query", (3,)),
    }
    for title, (program, name, place) in places.items():

        def judge(subject: Subject, program: Program = program, name: str = name, place: Any = place) -> Outcome:
            data = subject.round(draw(f"nan {name}", program, "normal", 0.3))
            spoilt = data.arrays[name].copy()
            spoilt[(*place, 0)] = np.nan
            data = data.but(**{name: spoilt})
            return compare(subject, program, data, subject(program, data), exact(program, data, subject), ())

        yield _case(f"nan-in-{title}", program, judge, compiled=program is not UNPAIRED_NONE)


Layout = Callable[[Array], Array]


def _read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def _memory_mapped(x: Array) -> Array:
    with TemporaryFile() as file:
        mapped = np.memmap(file, x.dtype, shape=x.shape)
    mapped[...] = x
    return mapped


def _spread(x: Array) -> Array:
    """Every second entry of a larger array."""
    larger = np.zeros([2 * size for size in x.shape], x.dtype)
    larger[tuple(slice(None, None, 2) for _ in x.shape)] = x
    return larger[tuple(slice(None, None, 2) for _ in x.shape)]


LAYOUTS: dict[str, Layout] = {
    "transposed": np.asfortranarray,
    "strided": _spread,
    "negative-strides": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": _read_only,
    "memory-mapped": _memory_mapped,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "foreign": lambda x: x.view(Foreign),
}


def _layouts() -> Iterator[Case]:
    """Not contiguous, not writable, or not even this framework's: the contiguous copy's value, or a TypeError."""
    for title, layout in LAYOUTS.items():
        refusable = title in ("big-endian", "foreign", "memory-mapped")  # not arrays of every framework
        yield _case(f"{title}-input", UNPAIRED_NONE, partial(_same_value, title, layout, refusable))
    yield _case("broadcast-input", UNPAIRED_NONE, _broadcast)
    yield _case("query-and-key-the-same-object", IN_BATCH_NONE, _same_object)


def _same_value(title: str, layout: Layout, refusable: bool, subject: Subject) -> Outcome:
    data = draw("layouts", UNPAIRED_NONE, "normal", 0.3)
    assert data.negative_keys is not None
    arrays = [x.astype(subject.dtype) for x in (data.query, data.positive_key, data.negative_keys)]
    try:
        return _value(subject, [layout(arrays[0]), *arrays[1:]], title)
    except TypeError as refused:
        if refusable and "query" in str(refused):
            return Outcome()
        raise


def _broadcast(subject: Subject) -> Outcome:
    """One row seen as several, as query and as key."""
    row, other = np.random.default_rng(0).normal(size=(2, 1, 3)).astype(subject.dtype)
    query, key = np.broadcast_to(row, (4, 3)), np.broadcast_to(other, (4, 3))
    return together([_value(subject, [query, key], "broadcast"), _value(subject, [query.copy(), key], "broadcast key")])


def _same_object(subject: Subject) -> Outcome:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(subject.dtype)
    return _value(subject, [x, x], "the same array as query and key")


def _value(subject: Subject, arrays: list[Any], title: str) -> Outcome:
    """The function's value on these very arrays."""
    got = float(subject.raw(*arrays, temperature=0.5))
    query, key, *rest = (np.array(x, np.float64) for x in arrays)
    want = info_nce(query, key, rest[0] if rest else None, 0.5)
    loss = np.asarray(want.loss, np.float64)
    error = abs(got - float(loss)) / float(loss_tolerance(loss, want.largest_logit, 1, subject.dtype))
    if error <= 1:
        return Outcome(error)
    return failure("loss", got, float(loss), f"info_nce on {title} arrays in {subject.dtype}")


def _numbers() -> Iterator[Case]:
    """Any real number is a temperature, and none changes the dtype of the loss."""
    for number in (1, 0.5, np.float64(0.5), np.float32(0.5), np.int64(1)):
        yield _case(f"temperature-{type(number).__name__}", IN_BATCH_NONE, partial(_number, number))


def _number(number: Any, subject: Subject) -> Outcome:
    arrays = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(subject.dtype)
    got, want = (subject.raw(*arrays, temperature=t) for t in (number, float(number)))
    if float(got) == float(want) and subject.dtype in str(got.dtype):
        return Outcome()
    return failure("loss", repr(got), repr(want), f"info_nce(query, positive_key, temperature={number!r})")
