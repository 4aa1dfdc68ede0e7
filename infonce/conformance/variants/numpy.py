"""NumPy: gradients by `infonce.value_and_grad`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._variant import Form, Variant, own_gradients


def version() -> str:
    return np.__version__


def devices() -> Mapping[str, Any]:
    return {"cpu": "cpu"}


def device_name(name: str) -> str:
    return name


def settings(device: Any) -> AbstractContextManager[Any]:
    # A warning of an overflow or of an invalid value, on inputs that have neither, is an error here.
    return np.errstate(over="raise", invalid="raise", divide="raise")


def lacking() -> Mapping[str, str]:
    return {"bfloat16": "NumPy has no bfloat16"}


def to_array(values: NDArray[Any], dtype: str | None, device: Any) -> Any:
    if dtype is None:
        return values  # as it is: read-only, strided, memory-mapped
    return values.astype(np.float32).astype(dtype) if dtype == "float16" else values.astype(dtype)


def to_numpy(array: Any) -> NDArray[np.float64]:
    return np.array(array, dtype=np.float64)


def form(array: Any) -> Form:
    if not isinstance(array, np.ndarray | np.generic):  # NumPy's own functions give scalars for 0-d arrays
        return Form("", type(array).__name__, (), "")
    return Form("numpy", str(array.dtype), array.shape, str(array.device))


def strided(array: NDArray[Any]) -> NDArray[Any]:
    """The same values, read-only, with negative and non-contiguous strides where there is an axis."""
    if array.ndim:
        spread = np.zeros([2 * length for length in array.shape], array.dtype)
        view = spread[tuple(slice(None, None, -2) for _ in array.shape)]
        view[...] = array
        array = view
    array.flags.writeable = False
    return array


def forget() -> None:
    pass  # nothing is compiled


def variants() -> tuple[Variant, ...]:
    return (
        Variant("numpy", own_gradients, plain=True, own=True),
        Variant("numpy:readonly", own_gradients, own=True, prepare=strided),
    )
