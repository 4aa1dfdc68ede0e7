"""A function under test, bound to one variant, device and dtype: the suite's `Subject`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Answer, Data, Loss, Program
from ._variant import Form, Step, Task, Toolkit, Variant, loss_dtype


class BoundSubject:
    """Calls a loss as the variant does.

    `function` stands for `info_nce`; `others` for `nt_xent` and `sup_con`, the package's own where not given.
    `differentiable=False` leaves the gradients to other cases.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        toolkit: Toolkit,
        variant: Variant,
        device: Any,
        dtype: str,
        *,
        differentiable: bool = True,
        tensor_cores: bool = False,
        others: Mapping[Loss, Callable[..., Any]] = MappingProxyType({}),
    ) -> None:
        self.dtype, self.tensor_cores = dtype, tensor_cores
        self.differentiable = differentiable and variant.differentiable
        self._functions: dict[Loss, Callable[..., Any]] = {**others, "info_nce": function}
        self._toolkit = toolkit
        self._variant = variant
        self._device = device
        self._steps: dict[Task, Step] = {}

    def __call__(self, program: Program, data: Data) -> Answer:
        task = Task(self._function(program.loss), program)
        number = float(data.temperature) if program.temperature == "number" else None
        with self._settings():
            given = {**data.arrays, "temperature": np.asarray(data.temperature, np.float64)}
            arrays = [self._array(given[name]) for name in task.names]
            arrays += [self._fixed(data.fixed[name]) for name in task.fixed]
            cotangent = None if data.cotangent is None else self._array(data.cotangent, loss_dtype(self.dtype))
            before = [self._toolkit.to_numpy(array) for array in arrays]
            loss, gradients = self._step(task)(arrays, number, cotangent)
            shape = program.anchors if task.by_row else ()
            want = self._toolkit.form(arrays[0])
            remarks = [*self._differences("loss", loss, want._replace(dtype=loss_dtype(self.dtype), shape=shape))]
            named: dict[str, NDArray[np.float64]] = {}
            for name, array, values, gradient in zip(task.names, arrays, before, gradients, strict=False):
                remarks += self._differences(f"gradient of {name}", gradient, self._toolkit.form(array))
                named[name] = self._values(gradient, values.shape)
            for name, array, values in zip((*task.names, *task.fixed), arrays, before, strict=True):
                if not np.array_equal(self._toolkit.to_numpy(array), values, equal_nan=True):
                    remarks.append(f"{name} was modified by the call")
            return Answer(self._values(loss, shape), named if self.differentiable else {}, tuple(remarks))

    def round(self, data: Data) -> Data:
        """The same data as the subject sees it: rounded to its dtype, as float64."""
        with self._settings():
            t = data.temperature
            return replace(
                data,
                arrays={name: self._rounded(x) for name, x in data.arrays.items()},
                temperature=self._rounded(t) if isinstance(t, np.ndarray) else t,
                cotangent=None if data.cotangent is None else self._rounded(data.cotangent, loss_dtype(self.dtype)),
            )

    def raw(self, *arguments: Any, loss: Loss = "info_nce", **options: Any) -> Any:
        """Call the loss itself: exact NumPy arrays become the framework's own, of their dtype; others stay."""
        with self._settings():
            return self._function(loss)(
                *(self._own(argument) for argument in arguments),
                **{name: self._own(argument) for name, argument in options.items()},
            )

    @contextmanager
    def _settings(self) -> Iterator[None]:
        with self._toolkit.settings(self._device), self._variant.settings():
            yield

    def _function(self, loss: Loss) -> Callable[..., Any]:
        if loss in self._functions:
            return self._functions[loss]
        import infonce

        own: Callable[..., Any] = getattr(infonce, loss)
        return own

    def _step(self, task: Task) -> Step:
        if task not in self._steps:
            self._steps[task] = self._variant.build(task)
        return self._steps[task]

    def _array(self, values: NDArray[np.float64], dtype: str | None = None) -> Any:
        return self._variant.prepare(self._toolkit.to_array(values, dtype or self.dtype, self._device))

    def _fixed(self, values: NDArray[Any]) -> Any:
        """Integers and booleans in their own dtype, weights of positives in that of the embeddings."""
        dtype = self.dtype if values.dtype.kind == "f" else None
        return self._variant.prepare(self._toolkit.to_array(values, dtype, self._device))

    def _rounded(self, values: NDArray[np.float64], dtype: str | None = None) -> NDArray[np.float64]:
        return self._toolkit.to_numpy(self._toolkit.to_array(values, dtype or self.dtype, self._device))

    def _own(self, argument: Any) -> Any:
        if type(argument) is not np.ndarray or not argument.dtype.isnative:
            return argument
        return self._toolkit.to_array(argument, None, self._device)

    def _differences(self, what: str, got: Any, want: Form) -> Iterator[str]:
        form = self._toolkit.form(got)
        if not form.framework:
            yield f"{what} is a {form.dtype}, but should be an array of {want.framework}"
            return
        for field in ("dtype", "shape", "device"):
            if getattr(form, field) != getattr(want, field):
                yield f"{what} has {field} {getattr(form, field)}, but should have {getattr(want, field)}"

    def _values(self, array: Any, shape: Sequence[int]) -> NDArray[np.float64]:
        """The array in float64; NaN where there is no such array, which `_differences` has said."""
        if self._toolkit.form(array).shape != tuple(shape):
            return np.full(shape, math.nan)
        return self._toolkit.to_numpy(array)
