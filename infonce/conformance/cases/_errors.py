"""Bad input: each gets an error of the right type whose message names the argument, what it got and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infonce.conformance.cases._judge import failure
from infonce.conformance.model import Case, Group, Loss, Outcome, Program, Subject


class Foreign(np.ndarray[Any, Any]):
    """An array that stays NumPy's when the others become the framework's own."""


@dataclass(frozen=True)
class Bad:
    """A call that must be refused: arrays by shape (or as they are), options, the error and the words of its message.

    An array given by a shape is filled with floats of the subject's dtype; one given with a dtype is of that dtype.
    `embeddings` are those of the losses that have no query.
    Words are compared without regard to case; "a|b" stands for either.
    """

    title: str
    error: type[Exception]
    words: tuple[str, ...]
    query: Any = (4, 3)
    positive_key: Any = (4, 3)
    negative_keys: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")
    loss: Loss = "info_nce"
    embeddings: tuple[Any, ...] = ()

    def run(self, subject: Subject) -> Outcome:
        arrays = (self.query, self.positive_key, self.negative_keys) if self.loss == "info_nce" else self.embeddings
        arguments = [_filled(x, subject.dtype) for x in arrays if x is not None]
        options = {name: _filled(x, subject.dtype) for name, x in self.options.items()}
        called = f"{self.loss}({', '.join(map(str, self._written()))}) in {subject.dtype}"
        try:
            got = subject.raw(*arguments, loss=self.loss, **options)
        except Exception as raised:
            if not isinstance(raised, self.error):
                return failure("the error", f"{type(raised).__name__}: {raised}", self.error.__name__, called)
            text = str(raised).lower()
            lacking = [word for word in self.words if not any(part.lower() in text for part in word.split("|"))]
            if lacking:
                return failure("the message", repr(str(raised)), f"one that says {' and '.join(lacking)}", called)
            return Outcome()
        return failure("result", got, f"{self.error.__name__} that says {' and '.join(self.words)}", called)

    def _written(self) -> Iterator[str]:
        for name in ("query", "positive_key", "negative_keys") if self.loss == "info_nce" else ():
            if (x := getattr(self, name)) is not None:
                yield f"{name}{x}" if isinstance(x, tuple) else f"{name}={x!r}"
        for x in self.embeddings:
            yield f"array{x}"
        for name, x in self.options.items():
            yield f"{name}={x!r}"


def _filled(x: Any, dtype: str) -> Any:
    """A shape, or a shape and a dtype, becomes an array; anything else is handed over."""
    if isinstance(x, tuple):
        *shape, kind = x if x and isinstance(x[-1], str) else (*x, dtype)
        return np.random.default_rng(0).normal(size=tuple(shape)).astype(kind)
    return x


def cases() -> tuple[Case, ...]:
    return (*(refused("errors", bad) for bad in _errors()), *(refused("options", bad) for bad in _options()))


def refused(group: Group, bad: Bad) -> Case:
    name = f"{group}/refused/{bad.title}"
    return Case(name, group, (Program(bad.title, 4, 3, loss=bad.loss),), bad.run, bad.dtypes, compiled=False)


def _errors() -> Iterator[Bad]:
    yield from _temperatures()
    yield from _choices()
    yield from _shapes()
    yield from _dtypes()


def _temperatures() -> Iterator[Bad]:
    values = {"0": 0.0, "integer-0": 0, "negative": -0.1, "nan": np.nan, "infinite": np.inf, "subnormal": 1e-310}
    for title, value in values.items():
        yield Bad(f"temperature-{title}", ValueError, ("temperature", "positive"), options={"temperature": value})
    single = {"temperature": 1e-40}  # a normal number in float64 alone
    words = ("temperature", "positive")
    yield Bad("temperature-subnormal-in-float32", ValueError, words, options=single, dtypes=("float32",))
    numpy_zero = {"temperature": np.float64(0)}
    yield Bad("temperature-numpy-0", ValueError, ("temperature", "positive"), options=numpy_zero)
    for title, wrong in {"string": "0.1", "none": None, "bool": True, "list": [0.1], "complex": 1j}.items():
        yield Bad(f"temperature-{title}", TypeError, ("temperature",), options={"temperature": wrong})
    yield Bad("temperature-integer-array", TypeError, ("temperature",), options={"temperature": (4, "int32")})


def _choices() -> Iterator[Bad]:
    words: tuple[str, ...]
    for value in ("avg", "", "MEAN", None):
        words = ("reduction", "none", "mean", "sum", repr(value))
        yield Bad(f"reduction-{value!r}", ValueError, words, options={"reduction": value})
    for value in ("pair", None):
        words = ("negative_mode", "paired", "unpaired", repr(value))
        yield Bad(f"mode-{value!r}-without-negatives", ValueError, words, options={"negative_mode": value})
        yield Bad(f"mode-{value!r}", ValueError, words, negative_keys=(6, 3), options={"negative_mode": value})
    words = ("negative_mode", "paired", "negative_keys")
    yield Bad("mode-paired-without-negatives", ValueError, words, options={"negative_mode": "paired"})


def _shapes() -> Iterator[Bad]:
    words: tuple[str, ...]
    paired = {"negative_mode": "paired"}
    two = ("query", "positive_key")
    yield Bad("rows-differ", ValueError, (*two, "(4, 3)", "(5, 3)"), positive_key=(5, 3))
    yield Bad("one-key-for-all", ValueError, (*two, "(4, 3)", "(1, 3)"), positive_key=(1, 3))
    yield Bad("features-differ", ValueError, (*two, "(4, 3)", "(4, 2)"), positive_key=(4, 2))
    words = ("query", "negative_keys", "(4, 3)")
    yield Bad("features-of-unpaired-differ", ValueError, (*words, "(6, 2)"), negative_keys=(6, 2))
    yield Bad("features-of-paired-differ", ValueError, (*words, "(4, 5, 2)"), negative_keys=(4, 5, 2), options=paired)
    yield Bad("rows-of-paired-differ", ValueError, (*words, "(3, 5, 3)"), negative_keys=(3, 5, 3), options=paired)
    words = ("negative_keys", "paired")
    yield Bad("paired-with-2d", ValueError, (*words, "(4, 3)", "3 dim|(n, k, d)"), negative_keys=(4, 3), options=paired)
    yield Bad("unpaired-with-3d", ValueError, (*words, "(4, 5, 3)", "2 dim|(m, d)"), negative_keys=(4, 5, 3))
    for shape in ((3,), (2, 4, 3), (1, 2, 4, 3)):
        dims, want = f"{len(shape)}d", "2 dim|(n, d)"
        yield Bad(f"query-{dims}", ValueError, ("query", str(shape), want), query=shape)
        yield Bad(f"positive-key-{dims}", ValueError, ("positive_key", str(shape), want), positive_key=shape)
        yield Bad(f"both-{dims}", ValueError, ("query", str(shape), want), query=shape, positive_key=shape)
    for shape in ((3,), (1, 4, 5, 3)):
        words = ("negative_keys", str(shape))
        yield Bad(f"unpaired-{len(shape)}d", ValueError, words, negative_keys=shape)
        yield Bad(f"paired-{len(shape)}d", ValueError, words, negative_keys=shape, options=paired)
    yield Bad("no-rows-under-mean", ValueError, ("query", "mean", "(0, 3)"), query=(0, 3), positive_key=(0, 3))
    yield Bad("no-features", ValueError, ("query", "feature|(n, d)", "(4, 0)"), query=(4, 0), positive_key=(4, 0))


def _dtypes() -> Iterator[Bad]:
    for name, shape in {"query": (4, 3), "positive_key": (4, 3), "negative_keys": (6, 3)}.items():
        wrong: dict[str, tuple[Any, tuple[str, ...]]] = {
            dtype: ((*shape, dtype), (dtype, "cast to float")) for dtype in ("int64", "int32", "uint8", "bool")
        }
        wrong["complex"] = ((*shape, "complex64"), ("complex",))
        wrong["list"] = (np.ones(shape).tolist(), ("list",))
        wrong["masked"] = (np.ma.array(np.ones(shape)), ("masked",))
        for title, (x, words) in wrong.items():
            arrays: dict[str, Any] = {name: x}
            yield Bad(f"{title}-{name}", TypeError, (name, *words), **arrays)
    yield Bad("number-as-query", TypeError, ("query", "float"), query=1.0)
    yield Bad("string-as-key", TypeError, ("positive_key", "str"), positive_key="key")


def _options() -> Iterator[Bad]:
    words: tuple[str, ...]
    for shape in ((3,), (1,), (4, 2), (1, 4), (4, 1, 1)):
        words = ("temperature", str(shape), "(n,)")
        yield Bad(f"temperature-{'x'.join(map(str, shape))}", ValueError, words, options={"temperature": shape})
    for size in (0, -1):
        words = ("block_size", str(size), "1|positive")
        yield Bad(f"block-size-{size}", ValueError, words, options={"block_size": size})
    for wrong in (2.5, "2", True):
        yield Bad(f"block-size-{wrong!r}", TypeError, ("block_size", repr(wrong)), options={"block_size": wrong})
    words = ("symmetric", "in_batch", "negative_keys")
    yield Bad("symmetric-without-in-batch", ValueError, words, negative_keys=(6, 3), options={"symmetric": True})
    yield Bad("no-negatives-at-all", ValueError, ("in_batch", "negative_keys"), options={"in_batch": False})
    for name in ("symmetric", "normalize", "in_batch"):
        yield Bad(f"{name}-as-a-string", TypeError, (name, "'yes'"), options={name: "yes"})
