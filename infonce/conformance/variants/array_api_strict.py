"""array-api-strict under its strictest flags: what is not in the latest standard raises."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import array_api_strict as strict
import numpy as np
from numpy.typing import NDArray

from ._variant import Form, Variant, own_gradients

_Array = type(strict.empty(0))
_CPU = strict.Device("CPU_DEVICE")
_NO_FLOAT64 = strict.Device("no_float64")


def version() -> str:
    return str(strict.__version__)


def devices() -> Mapping[str, Any]:
    return {"cpu": _CPU}


def device_name(name: str) -> str:
    return name


def settings(device: Any) -> AbstractContextManager[Any]:
    latest = strict.get_array_api_strict_flags()["api_version"]
    return strict.ArrayAPIStrictFlags(
        api_version=latest, boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    )


def lacking() -> Mapping[str, str]:
    reason = "the Array API standard has no half precision"
    return {"float16": reason, "bfloat16": reason}


def to_array(values: NDArray[Any], dtype: str | None, device: Any) -> Any:
    return strict.asarray(values.copy(), dtype=getattr(strict, dtype) if dtype else None, device=device)


def to_numpy(array: Any) -> NDArray[np.float64]:
    return np.array(strict.asarray(array, device=_CPU), dtype=np.float64)


def form(array: Any) -> Form:
    if not isinstance(array, _Array):
        return Form("", type(array).__name__, (), "")
    return Form("array_api_strict", str(array.dtype).removeprefix("array_api_strict."), array.shape, str(array.device))


def without_float64(array: Any) -> Any:
    return array.to_device(_NO_FLOAT64)


def forget() -> None:
    pass  # nothing is compiled


def variants() -> tuple[Variant, ...]:
    return (
        Variant("array_api_strict", own_gradients, plain=True, own=True),
        Variant("array_api_strict:no-float64", own_gradients, ("float32",), own=True, prepare=without_float64),
    )
