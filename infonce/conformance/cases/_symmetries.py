"""Changes of the data that change the answer in a known way, judged by two answers of the same program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import quiet, related
from infonce.conformance.cases._programs import OPTIONS, PLAIN
from infonce.conformance.data import generator
from infonce.conformance.model import Answer, Array, Case, Data, Group, Outcome, Program, Subject, pairs

Gradients = Mapping[str, Array]
# From data to changed data, and what that makes of the loss and of the gradients.
Change = tuple[Data, Callable[[Array], Array], Callable[[str, Array], Array]]
Symmetry = Callable[[np.random.Generator, Data], Change]

BY_ROW = ("query", "positive_key")


def cases() -> tuple[Case, ...]:
    return tuple(
        _case(program, name, kind, t)
        for program in (*PLAIN, *OPTIONS)
        for name, symmetry in SYMMETRIES.items()
        for kind, t in (("normal", 0.3), ("crowded", 0.1))
        if _applies(name, program)
    )


def _applies(name: str, program: Program) -> bool:
    if name in ("other-order-of-negatives",):
        return program.negatives is not None
    if name == "rows-rescaled":
        return bool(program.keywords.get("normalize", True))
    return name != "scaled-with-the-temperature" or not program.keywords.get("normalize", True)


def _case(program: Program, symmetry: str, kind: str, t: float) -> Case:
    group: Group = "agreement" if program in PLAIN else "options"
    name = f"{group}/property/{program.name}/{symmetry}-{kind}"

    def judge(subject: Subject) -> Outcome:
        data = subject.round(draw(name, program, kind, t))
        changed, loss, gradient = SYMMETRIES[symmetry](generator(f"{name} change"), data)
        changed = subject.round(changed)
        with quiet():
            first: Answer = subject(program, data)
        gradients = {key: gradient(key, g) for key, g in first.gradients.items()}
        return related(subject, program, changed, loss(first.loss), gradients)

    return Case(name, group, (program,), judge)


def _other_order_of_rows(rng: np.random.Generator, data: Data) -> Change:
    order = rng.permutation(len(data.query))
    paired = data.negative_keys is not None and data.negative_keys.ndim == 3
    t = data.temperature
    cotangent = None if data.cotangent is None else data.cotangent[order]
    changed = pairs(
        data.query[order],
        data.positive_key[order],
        data.negative_keys[order] if paired and data.negative_keys is not None else data.negative_keys,
        t[order] if isinstance(t, np.ndarray) and t.ndim else t,
        cotangent,
    )
    moved = {*BY_ROW, *(("negative_keys",) if paired else ()), "temperature"}
    return (
        changed,
        lambda loss: loss[order] if loss.ndim else loss,
        lambda name, g: g[order] if name in moved and g.ndim else g,
    )


def _other_order_of_negatives(rng: np.random.Generator, data: Data) -> Change:
    assert data.negative_keys is not None
    order = rng.permutation(data.negative_keys.shape[-2])
    changed = data.but(negative_keys=data.negative_keys[..., order, :])
    return changed, _same, lambda name, g: g[..., order, :] if name == "negative_keys" else g


def _rows_rescaled(rng: np.random.Generator, data: Data) -> Change:
    """The cosine does not see lengths; the gradient of c * x is that of x over c."""
    factors = {name: 10 ** rng.uniform(-2, 2, size=(*x.shape[:-1], 1)) for name, x in data.arrays.items()}
    changed = data.but(**{name: x * factors[name] for name, x in data.arrays.items()})
    return changed, _same, lambda name, g: g / factors.get(name, 1.0)


def _rotated(rng: np.random.Generator, data: Data) -> Change:
    features = data.query.shape[1]
    rotation = np.linalg.qr(rng.normal(size=(features, features)))[0]
    changed = data.but(**{name: x @ rotation for name, x in data.arrays.items()})
    return changed, _same, lambda name, g: g @ rotation if name != "temperature" else g


def _other_order_of_features(rng: np.random.Generator, data: Data) -> Change:
    order = rng.permutation(data.query.shape[1])
    changed = data.but(**{name: x[..., order] for name, x in data.arrays.items()})
    return changed, _same, lambda name, g: g[..., order] if name != "temperature" else g


def _scaled_with_the_temperature(rng: np.random.Generator, data: Data) -> Change:
    """Without normalisation (c * q, c * t) is (q, t)."""
    factor = 2.5
    changed = replace(data, temperature=np.asarray(factor * data.temperature)).but(query=factor * data.query)
    return changed, _same, lambda name, g: g / factor if name in ("query", "temperature") else g


def _same(loss: Array) -> Array:
    return loss


SYMMETRIES: dict[str, Symmetry] = {
    "other-order-of-rows": _other_order_of_rows,
    "other-order-of-negatives": _other_order_of_negatives,
    "rows-rescaled": _rows_rescaled,
    "rotated": _rotated,
    "other-order-of-features": _other_order_of_features,
    "scaled-with-the-temperature": _scaled_with_the_temperature,
}
