"""What is measured: which loss, on how many rows of how many features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 0.1

# Of every kind: what it is, and the matrix products of N x M x D that its value and gradient cannot do without.
KINDS = {
    "one": ("one direction", 3),
    "value": ("value only", 1),
    "none": ('reduction="none"', 3),
    "low": ("well matched pairs at t = 0.01", 3),
    "symmetric": ("symmetric", 3),
    "queue": ("constant keys", 2),
    "step": ("training step", 3),
    "nt_xent": ("NT-Xent", 3),
}


@dataclass(frozen=True)
class Case:
    """One line of a benchmark, written "one 4096 512", or "queue 256x65536 128" where M is not N."""

    kind: str
    n: int
    m: int
    d: int

    @classmethod
    def parse(cls, text: str) -> Case:
        kind, rows, features = text.split()
        if kind not in KINDS:
            raise ValueError(f"a case begins with one of {', '.join(KINDS)}; received {text!r}.")
        n, _, m = rows.partition("x")
        return cls(kind, int(n), int(m or n), int(features))

    def __str__(self) -> str:
        return f"{self.kind} {self.n if self.m == self.n else f'{self.n}x{self.m}'} {self.d}"

    @property
    def temperature(self) -> float:
        return 0.01 if self.kind == "low" else TEMPERATURE

    @property
    def products(self) -> int:
        return KINDS[self.kind][1]

    @property
    def rows(self) -> int:
        """Rows of the logit matrix."""
        return 2 * self.n if self.kind == "nt_xent" else self.n

    @property
    def columns(self) -> int:
        return 2 * self.m if self.kind == "nt_xent" else self.m

    @property
    def wanted(self) -> int:
        """How many of the inputs get a gradient: the first ones."""
        return {"value": 0, "queue": 1}.get(self.kind, 2)

    def inputs(self) -> list[NDArray[np.float32]]:
        """The query and the positive keys, or the two views; then the queue."""
        rng = np.random.default_rng(0)
        query = rng.standard_normal((self.n, self.d), np.float32)
        noise = np.float32(0.3 if self.kind == "low" else 1)
        inputs = [query, query + noise * rng.standard_normal((self.n, self.d), np.float32)]
        if self.kind == "queue":
            inputs.append(rng.standard_normal((self.m, self.d), np.float32))
        return inputs

    def sides(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The two factors of the logit matrix, for the products alone."""
        inputs = self.inputs()
        if self.kind == "nt_xent":
            both = np.concatenate(inputs)
            return both, both
        return inputs[0], inputs[2 if self.kind == "queue" else 1]

    def cotangent(self) -> NDArray[np.float32]:
        """What the row losses of reduction "none" are weighted with."""
        return np.random.default_rng(1).uniform(0.5, 1.5, self.n).astype(np.float32) / np.float32(self.n)
