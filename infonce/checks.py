"""Every error message: what is wrong, both shapes, what is allowed and the fix, in the same words everywhere."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

from .backend import Backend
from .frame import FULL
from .lookup import backend_of

FLOATS = ("float16", "bfloat16", "float32", "float64")
SMALLEST = {"float32": 2.0**-126, "float64": 2.0**-1022}  # normal numbers
LARGEST = {"float32": (2 - 2**-23) * 2.0**127, "float64": (2 - 2**-52) * 2.0**1023}

Shape = tuple[int | None, ...]


def options(
    reduction: object,
    negative_mode: object,
    symmetric: object = False,
    normalize: object = True,
    in_batch: object = None,
    block_size: object = None,
) -> None:
    """Check the options that stand for themselves."""
    choice("reduction", reduction, ("none", "mean", "sum"))
    choice("negative_mode", negative_mode, ("unpaired", "paired"))
    flag("symmetric", symmetric)
    flag("normalize", normalize)
    if in_batch is not None:
        flag("in_batch", in_batch)
    if block_size is not None:
        positive_int("block_size", block_size, " or None for the default")


def positive_int(name: str, value: object, alternative: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an int{alternative and ','}{alternative}; received {value!r}.")
    if value <= 0:
        raise ValueError(f"{name} must be at least 1{alternative and ','}{alternative}; received {value!r}.")
    return int(value)


def choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; received {value!r}.")


def flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; received {value!r}.")


def negatives_fit(explicit: bool, paired: bool, in_batch: bool, symmetric: bool) -> None:
    """Options that contradict each other."""
    if paired and not explicit:
        raise ValueError(
            'negative_mode="paired" needs negative_keys of shape (N, K, D); received None. Pass them, or leave '
            'negative_mode at "unpaired" for in-batch negatives.'
        )
    if not explicit and not in_batch:
        raise ValueError("in_batch=False needs negative_keys; received None. Pass them, or leave in_batch at None.")
    if symmetric and not in_batch:
        raise ValueError(
            "symmetric=True needs the batch's own keys as candidates; received negative_keys without in_batch=True. "
            "Pass in_batch=True as well, or leave symmetric at False."
        )


def is_array(x: object) -> bool:
    """Whether x is an array of any library, as opposed to a number or anything else."""
    backend = None if x is None or isinstance(x, (float, Real, str)) else backend_of(x)
    return backend is not None and backend.owns(x)


def find_backend(arrays: dict[str, Any]) -> Backend:
    """The one backend of all these arguments; TypeError for what is no dense array or of another framework."""
    some = next(iter(arrays.values()))
    kind, backend = type(some), backend_of(some)
    for x in arrays.values():
        same = type(x) is kind or backend_of(x) is backend
        if backend is None or not same or not backend.owns(x):
            refuse(arrays)
    assert backend is not None
    return backend


def refuse(arrays: dict[str, Any]) -> None:
    """Raise what is to be said of the first of these that is no dense array of the others' framework."""
    found = {name: backend_of(x) for name, x in arrays.items()}
    first, backend = next(((name, b) for name, b in found.items() if b is not None), ("", None))
    for name, x in arrays.items():
        own = found[name]
        if own is None:
            others = "" if backend is None else f" beside {first}, a {backend.name} array"
            fix = "Pass its .value" if type(x).__module__.startswith("keras.") else "Convert it to an array"
            raise TypeError(
                f"{name} must be a dense array of NumPy, PyTorch, JAX, TensorFlow or another Array API library; "
                f"received {type(x).__name__}{others}. {fix}."
            )
        if not own.owns(x):
            raise TypeError(
                f"{name} must be a dense array; received the {own.name} type {type(x).__name__}, which is sparse, "
                "ragged, masked or a matrix. Make it a plain dense array."
            )
        if backend is not None and own is not backend:
            raise TypeError(
                f"{first} and {name} must be arrays of the same framework; received a {backend.name} array and a "
                f"{own.name} array. Convert one of them."
            )


def views(given: tuple[Any, ...]) -> dict[str, Any]:
    """The views of `nt_xent` by the names that messages give them."""
    if len(given) < 2:
        raise ValueError(f"nt_xent needs at least two views, each (N, D); received {len(given)}.")
    return {f"view {i}": view for i, view in enumerate(given, start=1)}


def embeddings(b: Backend, arrays: dict[str, Any], paired: bool, reduction: str) -> str:
    """Check dtypes, devices and shapes of the embeddings; return the name of the dtype to compute in."""
    shapes = {name: b.shape(x) for name, x in arrays.items()}
    compute, first = "float32", next(iter(arrays))
    for name, x in arrays.items():
        if floating(b, name, x) == "float64":
            compute = "float64"
        negatives = name == "negative_keys"
        own = paired and negatives
        ndim, form = (3, "(N, K, D)") if own else (2, "(M, D)" if negatives else "(N, D)")
        shape = shapes[name]
        if name == "embeddings":
            several_views(shape)
        elif len(shape) != ndim:
            hint = f' for negative_mode="{"paired" if paired else "unpaired"}"' if negatives else ""
            raise ValueError(f"{name} must have {ndim} dimensions, {form}{hint}; received shape {shown(shape)}.")
        if shape[-1] == 0:
            raise ValueError(f"{name} must have at least one feature, {form}; received shape {shown(shape)}.")
        if name != first:
            if negatives or shape != shapes[first]:  # symbols that may differ must not be compared
                same_size((first, shapes[first]), (name, shape), -1, "features D")
                if own or not negatives:
                    same_size((first, shapes[first]), (name, shape), 0, "rows N")
            same_device(b, (first, arrays[first]), (name, x))
    if reduction == "mean" and shapes[first][0] == 0:
        raise ValueError(
            f'reduction="mean" of no rows is undefined; {first} has shape {shown(shapes[first])}. Pass at least one '
            'row, or reduction "sum" or "none".'
        )
    return compute


def several_views(shape: Shape) -> None:
    if len(shape) not in (2, 3) or (len(shape) == 3 and not (shape[1] and shape[2])):
        raise ValueError(
            "embeddings must have 2 dimensions, (N, D), or 3, (N, V, D), with a known number V >= 1 of views and of "
            f"features; received shape {shown(shape)}."
        )


def floating(b: Backend, name: str, x: Any) -> str:
    dtype = b.dtype(x)
    if dtype not in FLOATS:
        fix = "Cast to float, for example float32"
        if "complex" in dtype:
            fix = "Take a real part or a real embedding"
        elif dtype.startswith((">", "<")):
            fix = "Convert it to the machine's byte order, for example with x.astype(x.dtype.newbyteorder('='))"
        raise TypeError(f"{name} must have a dtype of {', '.join(FLOATS)}; received {dtype}. {fix}.")
    return dtype


def fits(size: int | None, other: int | None) -> bool:
    """Whether two sizes agree, as far as they are known."""
    return size is None or other is None or size == other


def same_size(one: tuple[str, Shape], other: tuple[str, Shape], axis: int, what: str) -> None:
    (name, shape), (other_name, other_shape) = one, other
    if not fits(shape[axis], other_shape[axis]):
        raise ValueError(
            f"{name} and {other_name} must have the same number of {what}; received shapes {shown(shape)} and "
            f"{shown(other_shape)}, that is {shape[axis]} and {other_shape[axis]}."
        )


def same_device(b: Backend, one: tuple[str, Any], other: tuple[str, Any]) -> None:
    (name, x), (other_name, y) = one, other
    if b.device(x) != b.device(y):
        raise ValueError(
            f"{name} and {other_name} must be on the same device; received {b.device(x)} and {b.device(y)}. "
            "Move one of them."
        )


def shown(shape: Shape) -> str:
    return str(shape).replace("None", "?")


def temperature_number(value: Any, compute: str, known: bool = True) -> float:
    """A Python or NumPy number as a float; its value is checked here, and only here.

    Where it is not known it is not checked: a schedule must not compile anew for each value.
    """
    if isinstance(value, bool) or not isinstance(value, (float, Real)):
        raise TypeError(
            "temperature must be a number, or a floating-point array of shape (), (N,) or (N, 1) of the embeddings' "
            f"framework; received {value!r}."
        )
    number = float(value)
    if known and not SMALLEST[compute] <= number <= LARGEST[compute]:
        raise ValueError(
            f"temperature must be positive, finite and a normal number of {compute}; received {value!r}. "
            "Usual values lie between 0.01 and 1."
        )
    return number


def bounded(b: Backend, normalize: bool, temperature: Any) -> bool:
    """Whether |z| <= 40 is known before anything is compiled."""
    return normalize and isinstance(temperature, float) and b.knows_numbers() and temperature >= FULL


def temperature_array(b: Backend, x: Any, query: Any, name: str = "query") -> None:
    floating(b, "temperature", x)
    shape, rows = b.shape(x), b.shape(query)[0]
    if len(shape) > 0 and not ((len(shape) == 1 or shape[1:] == (1,)) and fits(shape[0], rows)):
        raise ValueError(
            f"temperature must be a number or an array of shape (), (N,) or (N, 1), N the rows of {name}; received "
            f"shape {shown(shape)} for {name} of shape {shown(b.shape(query))}."
        )
    if len(shape) > 0:
        same_device(b, (name, query), ("temperature", x))


def has_negatives(b: Backend, positive_key: Any, negative_keys: Any, in_batch: bool) -> bool:
    """Whether any row may have a negative, as far as the shapes are known."""
    return (in_batch and b.shape(positive_key)[0] not in (0, 1)) or (
        negative_keys is not None and b.shape(negative_keys)[-2] != 0
    )


def warn_no_negatives(b: Backend, query: Any) -> None:
    if b.shape(query)[0] != 0 and not b.compiling(query):
        warnings.warn(
            "there are no negatives: the loss and its gradients are 0. Pass more than one row, or negative_keys.",
            UserWarning,
            stacklevel=4,
        )
