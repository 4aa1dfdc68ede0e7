"""Identities that loss and gradients of one program fulfil, whatever the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._closed_forms import negatives
from infonce.conformance.cases._judge import call, exact, failure, has_gradients, judged, related
from infonce.conformance.cases._programs import DOT_MEAN, IN_BATCH_MEAN, IN_BATCH_NONE, OPTIONS, PAIRED_NONE, PLAIN
from infonce.conformance.model import Case, Data, Group, Outcome, Program, Subject
from infonce.conformance.tolerance import Deviation, Exact, gradient_tolerance

Identity = Callable[[Subject, Program, Data], Outcome]


def cases() -> tuple[Case, ...]:
    return (
        *(_case(p, "gradient-orthogonal-to-its-row", _orthogonal) for p in (*PLAIN, *OPTIONS) if _cosine(p)),
        *(_case(p, "rotation-leaves-no-moment", _moment) for p in (*PLAIN, *OPTIONS)),
        *(_case(p, "same-bits-twice", _deterministic) for p in (*PLAIN, *OPTIONS)),
        *(_case(p, "inputs-not-modified", _unmodified) for p in (*PLAIN, *OPTIONS)),
        *(_case(p, "between-its-bounds", _bounded) for p in PLAIN),
        *(_case(p, "linear-in-the-cotangent", _linear) for p in (IN_BATCH_NONE, PAIRED_NONE)),
        _case(IN_BATCH_MEAN, "distances-on-the-sphere", _distances),
        _case(DOT_MEAN, "constant-added-to-a-row", _constant_added),
        _case(DOT_MEAN, "slopes-sum-to-zero", _slopes_sum_to_zero),
        _case(DOT_MEAN, "temperature-gradient-from-the-logits", _temperature),
    )


def _cosine(program: Program) -> bool:
    return bool(program.keywords.get("normalize", True))


def _case(program: Program, title: str, identity: Identity) -> Case:
    group: Group = "agreement" if program in PLAIN else "options"
    name = f"{group}/property/{program.name}/{title}"

    def judge(subject: Subject) -> Outcome:
        return identity(subject, program, subject.round(draw(name, program, "normal", 0.3)))

    return Case(name, group, (program,), judge)


def _inputs(want: Exact) -> list[str]:
    return [name for name in want.inputs if name in want.reference.gradients and name != "temperature"]


def _orthogonal(subject: Subject, program: Program, data: Data) -> Outcome:
    """The cosine does not change along a row, so x_i . g_i = 0."""
    want, answer = exact(program, data, subject), subject(program, data)
    found = []
    for name in _inputs(want) if has_gradients(subject, program, answer) else ():
        along = np.max(np.abs(np.sum(want.inputs[name] * answer.gradients[name], axis=-1)))
        error = along / gradient_tolerance(name, want, subject.dtype)
        found.append(Deviation(f"largest x . gradient of {name}", float(error), float(along), 0.0))
    return judged(found, call(program, data, subject.dtype), answer.remarks)


def _moment(subject: Subject, program: Program, data: Data) -> Outcome:
    """A common rotation changes nothing, so the sum of x^T g over all inputs is a symmetric matrix."""
    want, answer = exact(program, data, subject), subject(program, data)
    moment, allowed = np.zeros((program.features, program.features)), 0.0
    for name in _inputs(want) if has_gradients(subject, program, answer) else ():
        x, g = (a.reshape(-1, program.features) for a in (want.inputs[name], answer.gradients[name]))
        moment += x.T @ g
        allowed += 2 * len(x) * gradient_tolerance(name, want, subject.dtype)
    turn = float(np.max(np.abs(moment - moment.T)))
    found = Deviation("largest entry of M - M^T, M = sum of x^T g", turn / allowed if turn else 0.0, turn, 0.0)
    return judged([found], call(program, data, subject.dtype), answer.remarks)


def _deterministic(subject: Subject, program: Program, data: Data) -> Outcome:
    first, second = subject(program, data), subject(program, data)
    pairs = {"loss": (first.loss, second.loss)}
    pairs |= {f"gradient of {name}": (g, second.gradients[name]) for name, g in first.gradients.items()}
    for what, (a, b) in pairs.items():
        if not np.array_equal(a, b):
            return failure(f"the second {what}", b, f"bitwise the first, {a}", call(program, data, subject.dtype))
    return Outcome()


def _unmodified(subject: Subject, program: Program, data: Data) -> Outcome:
    """Neither by a call that is differentiated nor by a bare one on arrays that the library may share."""
    dtype = subject.dtype
    given = list(data.arrays.values())
    shared = [x.astype(dtype) for x in given]
    before = [x.copy() for x in (*given, *shared)]
    subject(program, data)
    subject.raw(*shared, **program.keywords)
    for x, old in zip((*given, *shared), before, strict=True):
        if not np.array_equal(x, old):
            return failure("an input after the call", x, f"unchanged, {old}", call(program, data, dtype))
    return Outcome()


def _bounded(subject: Subject, program: Program, data: Data) -> Outcome:
    """log(1 + K exp(-2/t)) <= L <= log(1 + K exp(2/t)), by row."""
    answer = subject(program, data)
    terms = program.rows if program.keywords.get("reduction") == "sum" else 1
    k, t = negatives(program), float(data.temperature)
    low, high = terms * np.log1p(k * np.exp(-2 / t)), terms * np.log1p(k * np.exp(2 / t))
    if not np.all((answer.loss >= low) & (answer.loss <= high)):
        return failure("loss", answer.loss, f"within {low} .. {high}", call(program, data, subject.dtype))
    return Outcome()


def _linear(subject: Subject, program: Program, data: Data) -> Outcome:
    """Under reduction none, cotangent v gives sum_i v_i times the gradient of row i's loss."""
    assert data.cotangent is not None
    totals: dict[str, np.ndarray] = {}
    for unit, v in zip(np.eye(program.rows), data.cotangent, strict=True):
        for name, g in subject(program, replace(data, cotangent=unit)).gradients.items():
            totals[name] = totals.get(name, 0) + v * g
    answer = subject(program, data)
    return related(subject, program, data, answer.loss, totals, answer)


def _distances(subject: Subject, program: Program, data: Data) -> Outcome:
    """On the sphere cosine / t is -|q - k|^2 / (2 t) up to a constant."""
    query, key = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (data.query, data.positive_key))
    squared = np.sum((query[:, None] - key[None]) ** 2, axis=-1)
    weights = np.exp(-squared / (2 * np.asarray(data.temperature)))
    want = np.mean(-np.log(np.diagonal(weights) / np.sum(weights, axis=1)))
    return related(subject, program, data, want, share=1)


def _constant_added(subject: Subject, program: Program, data: Data) -> Outcome:
    """A feature that is c_i in query i and 1 in every key adds c_i / t to the whole row."""
    query, key = data.query.copy(), data.positive_key.copy()
    query[:, -1], key[:, -1] = 0, 1
    plain = data.but(query=query, positive_key=key)
    shifted_query = query.copy()
    shifted_query[:, -1] = np.linspace(-2, 2, program.rows)
    shifted = subject.round(plain.but(query=shifted_query))
    first, second = subject(program, plain), subject(program, shifted)
    gradients = {name: g for name, g in first.gradients.items() if name != "positive_key"}
    return related(subject, program, shifted, first.loss, gradients, second)


def _slopes_sum_to_zero(subject: Subject, program: Program, data: Data) -> Outcome:
    """The slopes of a row sum to 0, so a feature that is equal in all keys gives the query's none."""
    key = data.positive_key.copy()
    key[:, -1] = 3
    data = data.but(positive_key=key)
    want, answer = exact(program, data, subject), subject(program, data)
    found = []
    if has_gradients(subject, program, answer):
        sums = np.abs(answer.gradients["query"][:, -1]) * np.linalg.norm(data.query, axis=1)
        error = float(np.max(sums) / gradient_tolerance("query", want, subject.dtype))
        found.append(Deviation("gradient along a feature equal in all keys", error, float(np.max(sums)), 0.0))
    return judged(found, call(program, data, subject.dtype), answer.remarks)


def _temperature(subject: Subject, program: Program, data: Data) -> Outcome:
    """dL/dlog t = -sum G z, and for the dot product sum G z = sum_i q_i . g_i."""
    answer = subject(program, data)
    gradients = dict(answer.gradients)
    if has_gradients(subject, program, answer):
        total = -np.sum(data.query * gradients["query"]) / data.temperature
        gradients = {"temperature": np.asarray(total)}
    return related(subject, program, data, answer.loss, gradients, answer)
