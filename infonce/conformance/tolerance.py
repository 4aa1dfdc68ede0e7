"""How far an answer may be from the oracle's, in units of what its dtype allows (1 is the limit).

Z is the largest |logit|. A logit of size Z carries an error of Z * eps / 2 before anything else happens, and a loss
below 1 or a gradient takes it over as a relative error; so everything grows with Z.

- float64: 8e-15 * (1 + Z), relative.
- float32: loss 2e-6 * max(1, Z) absolute, and 5e-5 relative where it is below 0.01 (from Z = 100 on, Z * 5e-7: the
  logit's own rounding, Z * 6e-8, is most of it there); gradient 1e-6 * max(1, Z), relative.
- float16, bfloat16: twice the error of the plain formula in float32 on the same inputs with its gradient rounded once,
  against float64; or what float32 is allowed, so that a plain formula that is exact by luck binds nobody. On tensor
  cores (bfloat16 on CUDA) the plain formula multiplies slopes and rows that are rounded to bfloat16, each by half an
  eps at most, and sums in float32: its gradients may err by eps times the same without cancellation, ours too. The
  logits are never rounded, and neither is the loss.

Gradients are measured row by row as |x_i| * |error_i| (their rows may differ by 1e45 when the inputs' do), against the
largest |x_i| * |g_i|. Additions keep that meaningful:

- where terms cancel (all embeddings equal: the gradient is 0) the rounding of the terms, 4 eps, and of the logits in
  them, Z * eps, remains: at least (4 + Z) * eps of the largest sum_j |dL/ds_ij| |q_i| |k_j| is allowed;
- the temperature's gradient is a sum of G_ij z_ij over everything, so |t| * |error| is measured against
  sum |G_ij z_ij|, by row for a temperature per row;
- weights and biases are no embedding rows: |error| by entry is measured against the largest sum of their terms, for a
  bias sum_i |dL/dz_ij|, for the weights the rows' losses (for the mean with the mean loss added, over sum(w));
- the error of a loss is that of its logits times sum_ij |dL/dz_ij| / 2. For the plain loss that is below the loss, and
  below 1 per row; where an option makes it more (no smaller for a decoupled loss near 0, 1 + 2 beta times under
  hardness, (x + y) / (x - y) under debias, which subtracts y from x), it stands in the place of the loss and the 1.
  The gradients' terms above grow alike;
- a slope dL/dz_ij below the smallest normal number may have been flushed to 0, and with it what it is multiplied with:
  |q_i| |k_j| / t_i, or z_ij for the temperature.

Under the cosine a zero row must have gradient 0 exactly; without it a zero row is measured with the longest row.
Differences below the smallest normal number count as 0 (processors may flush them), below float16's smallest
subnormal in float16. Infinities and NaN count as an error of infinity unless the oracle's value is the same in the
dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infonce.conformance.data import round_to
from infonce.conformance.model import Answer, Array
from infonce.conformance.oracle import Reference

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
PARAMETERS = ("weight", "bias")  # neither embeddings nor the temperature
TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-24, "bfloat16": 2.0**-126}


@dataclass(frozen=True)
class Deviation:
    """One quantity's worst error in units of its tolerance, and its values there."""

    what: str
    error: float
    got: float
    want: float


@dataclass(frozen=True)
class Exact:
    """What an answer is compared with: the reference, the rounded inputs by name, and the options that matter."""

    reference: Reference
    inputs: dict[str, Array]
    normalize: bool = True
    terms: int = 1  # how many row losses are added up: N for reduction sum
    plain: Reference | None = None  # the formula in float32, for the half dtypes
    half_factors: bool = False  # whether slopes and rows are rounded to the half dtype for their products


def deviations(answer: Answer, exact: Exact, dtype: str, names: tuple[str, ...] | None = None) -> list[Deviation]:
    """The loss's deviation, then that of each gradient in `names` (all that the reference has)."""
    found = [_loss_deviation(answer, exact, dtype)]
    for name in exact.reference.gradients if names is None else names:
        found.append(_gradient_deviation(name, answer, exact, dtype))
    return found


def _loss_deviation(answer: Answer, exact: Exact, dtype: str) -> Deviation:
    want = np.asarray(exact.reference.loss, np.float64)
    if answer.loss.shape != want.shape:
        return Deviation("shape of the loss", np.inf, answer.loss.ndim, want.ndim)
    z = exact.reference.largest_logit
    single = dtype != "float64"  # the loss of half inputs is a float32 number
    allowed = loss_tolerance(want, z, exact.terms, "float32" if single else dtype, exact.reference.sensitivity)
    if exact.plain is not None:
        own = np.abs(np.asarray(exact.plain.loss, np.float64) - want)
        allowed = np.maximum(allowed, 2 * np.max(own, initial=0.0, where=np.isfinite(own)))
    with np.errstate(over="ignore"):
        return _worst("loss", answer.loss, want, _difference(answer.loss, want, 0.0) / allowed)


def loss_tolerance(loss: Array, z: float, terms: int, dtype: str, sensitivity: Array | float = 0.0) -> Array:
    """The absolute error that a loss may have: float64 or float32, `terms` row losses added up."""
    sensitivity = np.where(np.isfinite(sensitivity), sensitivity, 0)
    size = np.maximum(np.where(np.isfinite(loss), np.abs(loss), 0), sensitivity)
    if dtype == "float64":
        return 8e-15 * (1 + z) * size + TINY[dtype]
    wide = 2e-6 * max(1.0, z) * np.maximum(terms, sensitivity)
    return np.where(size < 0.01, 5e-5 * max(1.0, z / 100) * size, wide) + TINY[dtype]


def _gradient_deviation(name: str, answer: Answer, exact: Exact, dtype: str) -> Deviation:
    want, got = np.asarray(exact.reference.gradients[name], np.float64), answer.gradients.get(name)
    if got is None or got.shape != want.shape:
        return Deviation(f"shape of the gradient of {name}", np.inf, np.nan if got is None else got.ndim, want.ndim)
    representable = round_to(dtype, want)
    want = np.where(np.isinf(representable), representable, want)  # too large for the dtype: infinity is right
    allowed = gradient_tolerance(name, exact, "float64" if dtype == "float64" else "float32")
    if exact.plain is not None:
        rounded = round_to(dtype, exact.plain.gradients[name])
        own = _row_errors(name, rounded, want, exact, dtype)
        allowed = max(allowed, 2 * float(np.max(own, initial=0.0, where=np.isfinite(own))))
    if exact.half_factors:
        uncancelled = exact.reference.uncancelled[name]
        whole = name == "temperature" and want.size == 1
        allowed += EPS[dtype] * float(np.sum(uncancelled) if whole else _largest(uncancelled))
    errors = _row_errors(name, got, want, exact, dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _worst(f"gradient of {name}", got, want, np.where(errors == 0, 0, errors / allowed))


def gradient_tolerance(name: str, exact: Exact, dtype: str) -> float:
    """What |x_i| * |error_i| may be: float64 or float32."""
    reference = exact.reference
    z, uncancelled = reference.largest_logit, reference.uncancelled[name]
    relative = 8e-15 * (1 + z) if dtype == "float64" else 1e-6 * max(1.0, z)
    if name == "temperature":
        total = np.sum(uncancelled) if reference.gradients[name].size == 1 else _largest(uncancelled)
        return float(relative * total + TINY[dtype] * z)
    if name in PARAMETERS:
        return float(relative * _largest(uncancelled) + TINY[dtype])
    measured = _norms(reference.gradients[name]) * _weights(name, exact)
    allowed = max(relative * _largest(measured), (4 + z) * EPS[dtype] * _largest(uncancelled))
    return float(allowed + TINY[dtype] * reference.largest_reach)


def _row_errors(name: str, got: Array, want: Array, exact: Exact, dtype: str) -> Array:
    difference = _difference(got, want, TINY[dtype])
    if name in PARAMETERS:
        return difference
    if name == "temperature":
        return difference * np.abs(exact.inputs[name])
    weights, lengths = _weights(name, exact), _norms(difference)
    with np.errstate(invalid="ignore"):
        errors = weights * lengths
    # A zero row under the cosine: nothing but 0 will do.
    return np.where(weights == 0, np.where(np.any(got != 0, axis=-1), np.inf, 0), errors)


def _weights(name: str, exact: Exact) -> Array:
    """|x_i|, the measure of row i."""
    norms = _norms(exact.inputs[name])
    norms = np.where(np.isfinite(norms), norms, 1)
    return norms if exact.normalize else np.where(norms == 0, _largest(norms), norms)


def _difference(got: Array, want: Array, negligible: float) -> Array:
    """|got - want| by entry: 0 where both are the same infinity or NaN, infinite where only one is."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.asarray(got, np.float64) - want)
    difference = np.where(difference <= negligible, 0, difference)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.asarray(np.where(same, 0, np.where(np.isfinite(got) & np.isfinite(want), difference, np.inf)))


def _worst(what: str, got: Array, want: Array, errors: Array) -> Deviation:
    """The deviation at the entry, or in the row, with the largest error."""
    if errors.size == 0:
        return Deviation(what, 0.0, np.nan, np.nan)
    place = np.unravel_index(int(np.argmax(errors)), errors.shape)
    row_got, row_want = np.atleast_1d(got[place]), np.atleast_1d(want[place])
    entry = int(np.argmax(_difference(row_got, row_want, 0.0)))
    index = [int(i) for i in place] + ([entry] if got.ndim > errors.ndim else [])
    where = f"[{', '.join(map(str, index))}]" if index else ""
    return Deviation(what + where, float(errors[place]), float(row_got[entry]), float(row_want[entry]))


def _norms(x: Array) -> Array:
    """Norms of rows of any magnitude; of rows with infinities infinite."""
    x = np.asarray(x, np.float64)
    largest = np.max(np.abs(x), axis=-1, keepdims=True, initial=0.0)
    scale = np.where((largest == 0) | ~np.isfinite(largest), 1, largest)
    return np.asarray(np.linalg.norm(x / scale, axis=-1) * scale[..., 0])


def _largest(values: Array) -> float:
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))
