"""PyTorch and JAX on a device of choice, for gpu.py."""

from __future__ import annotations

import importlib
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import _results
from _cases import Case
from _measure import Call
from contenders._limits import dense_fits, rows_of_products

BLOCK_ENTRIES = 1 << 28  # logits that the products alone make at a time


class Device(Protocol):
    name: str

    def set_precision(self, precision: str) -> None:
        """How float32 is multiplied: "tf32", or whole."""
        ...

    def inputs(self, case: Case, dtype: str) -> list[Any]: ...

    def to_numpy(self, x: Any) -> NDArray[np.float64]: ...

    def ours(self, case: Case, dtype: str) -> Call: ...

    def calls(self, case: Case, dtype: str) -> dict[str, Call]:
        """Ours, the plain formula where it fits, and the products alone."""
        ...

    def peak(self, name: str, call: Call) -> int | None:
        """Bytes that a contender of the last `calls` holds beside inputs and results; None: the device cannot tell."""
        ...


class Torch:
    def __init__(self, device: str) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.contenders: Any = importlib.import_module("contenders.torch")
        self.device, cuda = device, self.torch.cuda
        if device == "cuda" and not cuda.is_available():
            raise LookupError("torch sees no CUDA device")
        self.name: str = cuda.get_device_name() if device == "cuda" else _results.cpu()
        self.memory = cuda.mem_get_info()[1] if device == "cuda" else None

    def set_precision(self, precision: str) -> None:
        self.torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")

    def inputs(self, case: Case, dtype: str) -> list[Any]:
        return list(self.contenders.tensors(case.inputs(), self.device, dtype))

    def to_numpy(self, x: Any) -> NDArray[np.float64]:
        return np.asarray(x.detach().double().cpu())

    def ours(self, case: Case, dtype: str) -> Call:
        c = self.contenders
        call: Call = c.value_and_gradient(case, c.ours(case), self.inputs(case, dtype))
        return call

    def calls(self, case: Case, dtype: str) -> dict[str, Call]:
        c, inputs = self.contenders, self.inputs(case, dtype)
        sides = c.tensors(case.sides(), self.device, dtype)
        found = {name: c.value_and_gradient(case, loss, inputs) for name, loss in losses(c, case, self.memory).items()}
        return found | {name: c.products(case, block, *sides) for name, block in blocks(case, self.memory).items()}

    def peak(self, name: str, call: Call) -> int | None:
        if self.device != "cuda":
            return None
        cuda = self.torch.cuda
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        results = call()
        return int(cuda.max_memory_allocated() - before - sum(x.nbytes for x in results))


class JAX:
    def __init__(self, device: str) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self.jax: Any = importlib.import_module("jax")
        self.contenders: Any = importlib.import_module("contenders.jax")
        self.device = device
        try:
            of_jax = self.jax.devices(device)[0]
        except RuntimeError as error:
            raise LookupError(f"jax: {error}") from None
        self.name: str = of_jax.device_kind if device == "cuda" else _results.cpu()
        self.memory = (of_jax.memory_stats() or {}).get("bytes_limit")
        self.peaks: dict[str, int] = {}

    def set_precision(self, precision: str) -> None:
        self.jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "highest")

    def inputs(self, case: Case, dtype: str) -> list[Any]:
        return list(self.contenders.arrays(case.inputs(), self.device, dtype))

    def to_numpy(self, x: Any) -> NDArray[np.float64]:
        return np.asarray(x, np.float64)

    def ours(self, case: Case, dtype: str) -> Call:
        c = self.contenders
        jitted = c.Jitted(c.value_and_gradient(case, c.ours(case)), self.inputs(case, dtype))
        jitted.compile()
        call: Call = jitted
        return call

    def calls(self, case: Case, dtype: str) -> dict[str, Call]:
        c, inputs = self.contenders, self.inputs(case, dtype)
        sides = c.arrays(case.sides(), self.device, dtype)
        jitted = {
            name: c.Jitted(c.value_and_gradient(case, loss), inputs)
            for name, loss in losses(c, case, self.memory).items()
        }
        jitted |= {name: c.Jitted(c.products(case, block), sides) for name, block in blocks(case, self.memory).items()}
        self.peaks = {name: call.compile() for name, call in jitted.items()}
        return dict(jitted)

    def peak(self, name: str, call: Call) -> int | None:
        return self.peaks[name]


def losses(contenders: Any, case: Case, memory: int | None) -> dict[str, Any]:
    plain = contenders.losses_of_others(case)["plain formula"]
    return {"infonce": contenders.ours(case)} | ({"plain formula": plain} if dense_fits(case, memory) else {})


def blocks(case: Case, memory: int | None) -> dict[str, int]:
    return rows_of_products(case, max(512, BLOCK_ENTRIES // case.columns), memory)
