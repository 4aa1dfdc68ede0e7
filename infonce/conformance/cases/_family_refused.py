"""Options, and losses of several positives, that are given wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from infonce.conformance.cases._errors import Bad, refused
from infonce.conformance.cases._programs import NT_XENT, SUP_CON
from infonce.conformance.model import Case

IDS: dict[str, Any] = {"ids": (4, "int64")}
LABELS: dict[str, Any] = {"labels": (4, "int64")}
VIEWS: dict[str, Any] = {"loss": NT_XENT, "embeddings": ((4, 3), (4, 3))}
ROWS: dict[str, Any] = {"loss": SUP_CON, "embeddings": ((4, 3),)}


def cases() -> tuple[Case, ...]:
    return tuple(
        refused("options", bad) for part in (_numbers, _combinations, _arrays, _views, _labels) for bad in part()
    )


def _numbers() -> Iterator[Bad]:
    """Out of range, or no numbers; of every loss."""
    wrong: dict[str, tuple[float, ...]] = {
        "label_smoothing": (-0.1, 1.0, np.nan),
        "debias": (-0.1, 1.0, np.nan),
        "hardness": (-1.0, np.inf, np.nan),
        "margin": (np.inf, -np.inf, np.nan),
    }
    for name, values in wrong.items():
        for value in values:
            options = {name: value}
            yield Bad(f"{name}-{value}", ValueError, (name, repr(value)), options=options)
            yield Bad(f"{name}-{value}-of-views", ValueError, (name, repr(value)), options=options, **VIEWS)
            yield Bad(f"{name}-{value}-of-labels", ValueError, (name, repr(value)), options=options | LABELS, **ROWS)
        for text in ("0.1", None, True):
            yield Bad(f"{name}-{text!r}", TypeError, (name, repr(text)), options={name: text})
    yield Bad("decoupled-as-a-string", TypeError, ("decoupled", "'yes'"), options={"decoupled": "yes"})


def _combinations() -> Iterator[Bad]:
    """Options that exclude each other."""
    given = {"decoupled": True, "debias": 0.1, "hardness": 1.0}
    for name, value in given.items():
        options = {"label_smoothing": 0.1, name: value}
        words = ("label_smoothing", name)
        yield Bad(f"smoothing-and-{name}", ValueError, words, options=options)
        yield Bad(f"smoothing-and-{name}-of-views", ValueError, words, options=options, **VIEWS)
        yield Bad(f"smoothing-and-{name}-of-labels", ValueError, words, options=options | LABELS, **ROWS)
    for name in ("debias", "hardness"):
        options = {name: given[name], "normalize": False}
        words = (name, "normalize")
        yield Bad(f"{name}-of-dot-products", ValueError, words, options=options)
        yield Bad(f"{name}-of-dot-products-of-views", ValueError, words, options=options, **VIEWS)
        yield Bad(f"{name}-of-dot-products-of-labels", ValueError, words, options=options | LABELS, **ROWS)
    for name, value in {"decoupled": True, "label_smoothing": 0.1}.items():
        options = {"exclude_positives": True, name: value}
        words = ("exclude_positives", name)
        yield Bad(f"exclude-positives-and-{name}", ValueError, words, options=options, **VIEWS)
        yield Bad(f"exclude-positives-and-{name}-of-labels", ValueError, words, options=options | LABELS, **ROWS)
    explicit: dict[str, Any] = {"negative_keys": (6, 3)}
    ids: dict[str, Any] = {"negative_ids": (6, "int64")}
    yield Bad("negative-ids-without-ids", ValueError, ("negative_ids", "ids"), options=ids, **explicit)
    yield Bad("negative-ids-without-negatives", ValueError, ("negative_ids", "negative_keys"), options=ids | IDS)


def _arrays() -> Iterator[Bad]:
    """Optional arrays of a wrong dtype or shape."""
    shape: tuple[int, ...]
    explicit: dict[str, Any] = {"negative_keys": (6, 3)}
    for name, dtype in {"ids": "float32", "mask": "int64", "weight": "int64", "bias": "int64"}.items():
        yield Bad(f"{name}-of-{dtype}", TypeError, (name, dtype), options={name: (4, dtype)})
    yield Bad("ids-of-booleans", TypeError, ("ids", "bool"), options={"ids": (4, "bool")})
    yield Bad("mask-of-floats", TypeError, ("mask", "float32"), options={"mask": (4, 4, "float32")})
    yield Bad("mask-as-a-list", TypeError, ("mask", "list"), options={"mask": [True] * 4})
    wrong = IDS | {"negative_ids": (6, "float32")}
    yield Bad("negative-ids-of-floats", TypeError, ("negative_ids", "float32"), options=wrong, **explicit)
    shapes: dict[str, tuple[tuple[Any, ...], ...]] = {
        "ids": ((3, "int64"), (1, "int64"), (4, 1, "int64")),
        "weight": ((3,), (1,), (4, 1)),
        "mask": ((3, "bool"), (4, 3, "bool"), (3, 4, "bool"), (1, 4, 4, "bool")),
        "bias": ((3,), (1,), (4, 3), (3, 4), (4, 1), (1, 4, 4)),
    }
    for name, wrongs in shapes.items():
        for wrong_shape in wrongs:
            shape = tuple(x for x in wrong_shape if isinstance(x, int))
            title = f"{name}-{'x'.join(map(str, shape))}"
            yield Bad(title, ValueError, (name, str(shape)), options={name: wrong_shape})
    for columns in (6, 4):  # with both there are 10
        both = {"in_batch": True, "mask": (columns, "bool")}
        yield Bad(f"mask-{columns}-of-10", ValueError, ("mask", f"({columns},)"), options=both, **explicit)
    for shape in ((5,), (4, 6)):
        options = IDS | {"negative_ids": (*shape, "int64")}
        title = f"negative-ids-{'x'.join(map(str, shape))}"
        yield Bad(title, ValueError, ("negative_ids", str(shape)), options=options, **explicit)
    paired = IDS | {"negative_mode": "paired", "negative_ids": (5, "int64")}
    words = ("negative_ids", "(5,)")
    yield Bad("negative-ids-of-paired", ValueError, words, negative_keys=(4, 5, 3), options=paired)


def _views() -> Iterator[Bad]:
    for count in (0, 1):
        too_few = ((4, 3),) * count
        yield Bad(f"{count}-views", ValueError, ("two views", str(count)), loss=NT_XENT, embeddings=too_few)
    shape: tuple[int, ...]
    several: dict[str, tuple[tuple[int, ...], ...]] = {
        "rows-of-views-differ": ((4, 3), (5, 3)),
        "features-of-views-differ": ((4, 3), (4, 2)),
        "views-of-3d": ((4, 3), (4, 1, 3)),
    }
    for title, views in several.items():
        yield Bad(title, ValueError, ("view 2", str(views[1])), loss=NT_XENT, embeddings=views)
    integers = ((4, 3), (4, 3, "int64"))
    yield Bad("views-of-integers", TypeError, ("view 2", "int64"), loss=NT_XENT, embeddings=integers)
    for shape in ((8,), (4, 4)):
        words = ("temperature", str(shape))
        yield Bad(f"temperature-of-views-{len(shape)}d", ValueError, words, options={"temperature": shape}, **VIEWS)
    yield Bad("weight-of-views", ValueError, ("weight", "(8,)"), options={"weight": (8,)}, **VIEWS)
    yield Bad("ids-of-views", ValueError, ("ids", "(8,)"), options={"ids": (8, "int64")}, **VIEWS)


def _labels() -> Iterator[Bad]:
    words: tuple[str, ...] = ("labels", "positives")
    shape: tuple[int, ...]
    square: dict[str, Any] = {"positives": (4, 4, "bool")}
    yield Bad("neither-labels-nor-positives", ValueError, words, **ROWS)
    yield Bad("labels-and-positives", ValueError, words, options=LABELS | square, **ROWS)
    for shape in ((3,), (4, 1)):
        title = f"labels-{'x'.join(map(str, shape))}"
        yield Bad(title, ValueError, ("labels", str(shape)), options={"labels": (*shape, "int64")}, **ROWS)
    for dtype in ("float32", "bool"):
        yield Bad(f"labels-of-{dtype}", TypeError, ("labels", dtype), options={"labels": (4, dtype)}, **ROWS)
    for shape in ((4,), (4, 3), (3, 3)):
        title = f"positives-{'x'.join(map(str, shape))}"
        yield Bad(title, ValueError, ("positives", str(shape)), options={"positives": (*shape, "bool")}, **ROWS)
    of_samples: dict[str, Any] = {"loss": SUP_CON, "embeddings": ((4, 2, 3),)}
    yield Bad("positives-of-samples", ValueError, ("positives", "(4, 4)"), options=square, **of_samples)
    integers = {"positives": (4, 4, "int64")}
    yield Bad("positives-of-integers", TypeError, ("positives", "int64"), options=integers, **ROWS)
    for name in ("form", "rows_without_positives"):
        yield Bad(f"{name}-unknown", ValueError, (name, "'between'"), options=LABELS | {name: "between"}, **ROWS)
    for shape in ((3,), (1, 4, 2, 3)):
        given: dict[str, Any] = {"loss": SUP_CON, "embeddings": (shape,)}
        title = f"embeddings-{len(shape)}d"
        yield Bad(title, ValueError, ("embeddings", str(shape)), options=LABELS, **given)
    words = ("weight", "(8,)")
    yield Bad("weight-of-rows", ValueError, words, options=LABELS | {"weight": (8,)}, **of_samples)
    inside = LABELS | {"form": "in", "exclude_positives": True}
    yield Bad("exclude-positives-inside", ValueError, ("exclude_positives", "form"), options=inside, **ROWS)
