"""A correct `info_nce` in NumPy, one method for each step that can go wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from infonce.conformance.data import round_to
from infonce.conformance.model import Answer, Data, Loss, Program

from ._checks import check

NAMES = ("query", "positive_key", "negative_keys", "temperature", "reduction", "negative_mode")
DEFAULTS: dict[str, Any] = {
    "reduction": "mean",
    "negative_mode": "unpaired",
    "symmetric": False,
    "normalize": True,
    "in_batch": None,
    "block_size": None,
}


class Correct:
    """A Subject: rows in blocks, softmax in at least float32, gradients rounded once at the end."""

    differentiable, tensor_cores = True, False
    defaults = DEFAULTS

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.work: Any = np.float64 if dtype == "float64" else np.float32

    # What the suite calls.

    def round(self, data: Data) -> Data:
        arrays = {name: round_to(self.dtype, x) for name, x in data.arrays.items()}
        t, cotangent = data.temperature, data.cotangent
        return replace(
            data,
            arrays=arrays,
            temperature=round_to(self.dtype, t) if isinstance(t, np.ndarray) else t,
            cotangent=None if cotangent is None else round_to(self.dtype, cotangent),
        )

    def raw(self, *arguments: Any, loss: Loss = "info_nce", **given: Any) -> Any:
        named = dict(zip(NAMES, arguments, strict=False)) | given
        arrays = {name: x for name in NAMES[:3] if (x := named.pop(name, None)) is not None}
        temperature = named.pop("temperature", 0.1)
        return self.compute(arrays, temperature, self.defaults | named, None)[0]

    def __call__(self, program: Program, data: Data) -> Answer:
        # The array type of the half dtypes is of no matter here: their values are float32 numbers.
        arrays = {name: np.array(x, self.work) for name, x in data.arrays.items()}
        before = {name: x.copy() for name, x in arrays.items()}
        t = data.temperature if isinstance(data.temperature, float) else np.array(data.temperature, self.work)
        loss, gradients = self.compute(arrays, t, self.defaults | program.keywords, data.cotangent)
        remarks = [f"{name} was modified" for name, x in arrays.items() if not np.array_equal(x, before[name], True)]
        if loss.dtype != self.work:
            remarks.append(f"loss has dtype {loss.dtype}, but should have {np.dtype(self.work)}")
        if isinstance(t, float):
            del gradients["temperature"]
        else:
            each = gradients["temperature"].reshape(t.shape) if t.size > 1 else np.sum(gradients["temperature"])
            gradients["temperature"] = np.asarray(each).reshape(t.shape)
        rounded = {name: self.round_gradient(g) for name, g in gradients.items()}
        return Answer(np.asarray(loss, np.float64), rounded, tuple(remarks))

    # The computation.

    def compute(
        self, arrays: dict[str, Any], temperature: Any, options: dict[str, Any], cotangent: Any
    ) -> tuple[Any, dict[str, Any]]:
        self.check(arrays, temperature, options)
        with np.errstate(all="ignore"):
            raw = {name: np.asarray(x, self.work) for name, x in arrays.items()}
            rows = len(raw["query"])
            t = np.broadcast_to(np.asarray(temperature, self.work).reshape(-1), (rows,))
            weight = self.weights(rows, options["reduction"], cotangent)
            vectors = {name: self.unit(arrays[name], x) for name, x in raw.items()} if options["normalize"] else raw
            loss, gradients = self.both_directions(vectors, t, weight, options)
            if options["normalize"]:
                gradients = {
                    name: g if name == "temperature" else self.through_unit(raw[name], g)
                    for name, g in gradients.items()
                }
            return self.reduce(loss, options["reduction"]), gradients

    def both_directions(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not options["symmetric"]:
            return self.direction(vectors, t, weight, options)
        forth, gradients = self.direction(vectors, t, weight / 2, options)
        turned = {"query": vectors["positive_key"], "positive_key": vectors["query"]}
        back, others = self.direction(turned, t, weight / 2, options)
        for name, other in (("query", "positive_key"), ("positive_key", "query"), ("temperature", "temperature")):
            gradients[name] = gradients[name] + others[other]
        return (forth + back) / 2, gradients

    def direction(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        gradients = {name: np.zeros_like(x) for name, x in vectors.items()} | {"temperature": np.zeros_like(t)}
        loss = np.zeros_like(t)
        for rows in self.blocks(len(t), options["block_size"] or 4):
            within = self.within_batch("negative_keys" in vectors, options["in_batch"])
            logits = self.logits(vectors, rows, t, within, options["negative_mode"] == "paired")
            positive = self.positive_columns(rows, within)
            loss[rows], slope = self.cross_entropy(logits, positive)
            slope = slope * weight[rows, None]
            gradients["temperature"][rows] = self.temperature_slope(slope, logits, positive, t[rows])
            self.add_gradients(gradients, vectors, rows, slope / t[rows, None], within)
        return loss, gradients

    # The steps.

    def check(self, arrays: dict[str, Any], temperature: Any, options: dict[str, Any]) -> None:
        check(arrays, temperature, options)

    def blocks(self, n: int, size: int) -> list[Any]:
        return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]

    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        if reduction == "none" and cotangent is not None:
            return np.asarray(cotangent, self.work)
        return np.full(rows, 1 / rows if reduction == "mean" else 1, self.work)

    def reduce(self, loss: Any, reduction: str) -> Any:
        return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](loss)

    def within_batch(self, explicit: bool, in_batch: bool | None) -> bool:
        return not explicit if in_batch is None else in_batch

    def norm(self, x: Any) -> tuple[Any, Any]:
        """The norm as two factors, and 1 for a zero row."""
        scale = np.max(np.abs(x), axis=-1, keepdims=True, initial=0)
        scale = np.where(scale == 0, self.work(1), scale)
        size = np.linalg.norm(x / scale, axis=-1, keepdims=True)
        return scale, np.where(size == 0, self.work(1), size)

    def unit(self, given: Any, x: Any) -> Any:
        scale, size = self.norm(x)
        return x / scale / size

    def through_unit(self, x: Any, gradient: Any) -> Any:
        scale, size = self.norm(x)
        u = x / scale / size
        along = np.sum(u * gradient, axis=-1, keepdims=True)
        return np.where(np.all(x == 0, axis=-1, keepdims=True), 0, (gradient - u * along) / size / scale)

    def logits(self, vectors: Any, rows: Any, t: Any, within: bool, paired: bool) -> Any:
        query, key = vectors["query"][rows], vectors["positive_key"]
        parts = [query @ key.T if within else np.sum(query * key[rows], axis=1, keepdims=True)]
        if "negative_keys" in vectors:
            negatives = vectors["negative_keys"]
            parts.append(np.einsum("nd,nkd->nk", query, negatives[rows]) if paired else query @ negatives.T)
        return np.concatenate(parts, axis=1) / t[rows, None]

    def positive_columns(self, rows: Any, within: bool) -> Any:
        return rows if within else np.zeros_like(rows)

    def negatives(self, logits: Any, positive: Any) -> Any:
        negatives = logits.copy()
        np.put_along_axis(negatives, positive[:, None], -np.inf, axis=1)
        return negatives

    def shift(self, logits: Any) -> Any:
        return np.max(logits, axis=1, keepdims=True, initial=-np.finfo(self.work).max)

    def cross_entropy(self, logits: Any, positive: Any) -> tuple[Any, Any]:
        negatives = self.negatives(logits, positive)
        shift = self.shift(negatives)
        powers = np.exp(negatives - shift)
        total = np.sum(powers, axis=1, keepdims=True)
        a = np.log(total) + shift - np.take_along_axis(logits, positive[:, None], axis=1)
        slope = np.where(total == 0, 0, powers / total) * np.exp(-np.logaddexp(0, -a))
        np.put_along_axis(slope, positive[:, None], -np.sum(slope, axis=1, keepdims=True), axis=1)
        return np.logaddexp(0, a)[:, 0], slope

    def temperature_slope(self, slope: Any, logits: Any, positive: Any, t: Any) -> Any:
        return -np.sum(slope * logits, axis=1) / t

    def add_gradients(self, gradients: Any, vectors: Any, rows: Any, slope: Any, within: bool) -> None:
        query, key = vectors["query"], vectors["positive_key"]
        width = len(key) if within else 1
        first, rest = slope[:, :width], slope[:, width:]
        gradients["query"][rows] += first @ key if within else first * key[rows]
        if within:
            gradients["positive_key"] += first.T @ query[rows]
        else:
            gradients["positive_key"][rows] += first * query[rows]
        if "negative_keys" in vectors:
            negatives = vectors["negative_keys"]
            if negatives.ndim == 3:
                gradients["query"][rows] += np.einsum("nk,nkd->nd", rest, negatives[rows])
                gradients["negative_keys"][rows] += rest[:, :, None] * query[rows, None, :]
            else:
                gradients["query"][rows] += rest @ negatives
                gradients["negative_keys"] += rest.T @ query[rows]

    def round_gradient(self, gradient: Any) -> Any:
        return round_to(self.dtype, gradient)
