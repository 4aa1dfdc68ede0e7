"""How a case reaches its outcome: an answer against the oracle, against a number, or against another answer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from infonce.conformance.model import WITH_GRADIENT, Answer, Array, Data, Outcome, Program, Subject
from infonce.conformance.oracle import Reference, info_nce
from infonce.conformance.oracle_views import nt_xent, sup_con
from infonce.conformance.tolerance import Deviation, Exact, deviations

HALVES = ("float16", "bfloat16")


def reference(program: Program, data: Data, dtype: type[np.floating] = np.float64) -> Reference:
    """The oracle's answer."""
    given = {name: value for name, value in program.keywords.items() if name != "block_size"}
    given |= {"temperature": data.temperature, "cotangent": data.cotangent, "dtype": dtype, **data.fixed}
    given |= {name: x for name, x in data.arrays.items() if name in WITH_GRADIENT}
    embeddings = [data.arrays[name] for name in program.embeddings]
    if program.loss == "nt_xent":
        return nt_xent(embeddings, **given)
    loss: Callable[..., Reference] = info_nce if program.loss == "info_nce" else sup_con
    return loss(*embeddings, **given)


def exact(program: Program, data: Data, subject: Subject) -> Exact:
    """What the subject's answer on the (already rounded) data is compared with."""
    return Exact(
        reference(program, data),
        {**data.arrays, "temperature": np.asarray(data.temperature)},
        normalize=program.keywords.get("normalize", True),
        terms=math.prod(program.anchors) if program.keywords.get("reduction") == "sum" else 1,
        plain=reference(program, data, np.float32) if subject.dtype in HALVES else None,
        half_factors=subject.tensor_cores,
    )


def agrees(subject: Subject, program: Program, data: Data) -> Outcome:
    """The subject's loss and every gradient against the oracle's, on the data as the subject sees it."""
    data = subject.round(data)
    with quiet():
        answer = subject(program, data)
    return compare(subject, program, data, answer, exact(program, data, subject))


def compare(
    subject: Subject, program: Program, data: Data, answer: Answer, want: Exact, names: tuple[str, ...] | None = None
) -> Outcome:
    """An answer's form, loss and gradients (all, or those named) against what they should be."""
    found = deviations(answer, want, subject.dtype, names if has_gradients(subject, program, answer) else ())
    return judged(found, call(program, data, subject.dtype), answer.remarks)


def related(
    subject: Subject,
    program: Program,
    data: Data,
    loss: Array | float,
    gradients: Mapping[str, Array] | None = None,
    answer: Answer | None = None,
    share: float = 2,
) -> Outcome:
    """The answer on rounded data against values from elsewhere: share 2 where they come from another answer."""
    if answer is None:
        with quiet():
            answer = subject(program, data)
    if gradients is None or not has_gradients(subject, program, answer):
        gradients = {}
    want = exact(program, data, subject)
    implied = replace(want.reference, loss=np.asarray(loss), gradients=dict(gradients))
    found = deviations(answer, replace(want, reference=implied), subject.dtype)
    return judged(found, call(program, data, subject.dtype), answer.remarks, share)


def has_gradients(subject: Subject, program: Program, answer: Answer) -> bool:
    """Whether gradients are due: `value_and_grad`, NumPy's only way to them, has none for a loss by row."""
    return subject.differentiable and (bool(answer.gradients) or not program.by_row)


def judged(found: Iterable[Deviation], called: str, remarks: tuple[str, ...] = (), share: float = 1) -> Outcome:
    """The outcome of deviations, each allowed `share` tolerances."""
    found = list(found)
    messages = [f"{remark} [{called}]" for remark in remarks]
    for deviation in found:
        if not deviation.error <= share:
            size = f"{deviation.error / share:.3g} x the tolerance"
            values = f"{deviation.what} = {deviation.got!r}, but should be {deviation.want!r}"
            messages.append(f"{values} [{called}; {size}]")
    return Outcome(max((deviation.error / share for deviation in found), default=0.0), tuple(messages))


def failure(what: str, got: object, want: object, called: str) -> Outcome:
    """A failure that no number measures."""
    return Outcome(float("inf"), (f"{what} = {got}, but should be {want} [{called}]",))


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """One outcome of several: the worst error, all messages."""
    outcomes = list(outcomes)
    messages = tuple(message for outcome in outcomes for message in outcome.messages)
    return Outcome(max((outcome.error for outcome in outcomes), default=0.0), messages)


def call(program: Program, data: Data, dtype: str) -> str:
    """The call as a user would write it, with shapes in the place of data."""
    words = [f"{name}{x.shape}" for name, x in {**data.arrays, **data.fixed}.items()]
    t = data.temperature
    words.append(f"temperature={f'array{t.shape}' if isinstance(t, np.ndarray) and t.ndim else float(t):}")
    return f"{program.loss}({', '.join(words + [f'{name}={value!r}' for name, value in program.options])}) in {dtype}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warning that there are no negatives, where a case wants the value."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*negative")
        yield
