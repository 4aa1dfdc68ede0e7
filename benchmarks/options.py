"""Time of each option over the time of the same loss without it, value and gradient of the embeddings.

    python benchmarks/options.py --framework torch --option mask

`info_nce` on N rows, in-batch; `nt_xent` on two views of N / 2 samples and `sup_con` on N rows in pairs: N x N logits.
Each runs once a round; the median of the rounds' ratios and their quartiles. NumPy's `value_and_grad` also gives the
gradients of `weight`, `bias` and `temperature`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import _results
import infonce
from _cases import TEMPERATURE, Case
from _command import FEWEST_ROUNDS, Contenders, contenders, each_in_its_process, folder, frameworks, parser, show
from _measure import Call, compare
from infonce.lookup import backend_of

SIZES = {"full": (4096, 256), "quick": (512, 64), "tiny": (16, 4)}  # N, D
SECONDS = {"full": 2.0, "quick": 0.2, "tiny": 0.0}

Recipe = Callable[[np.random.Generator, int, int], NDArray[Any]]  # of rows and samples
ARRAYS: dict[str, Recipe] = {
    "ids": lambda rng, _, samples: rng.integers(0, samples, samples, np.int32),
    "mask": lambda rng, rows, _: rng.random((rows, rows)) < 0.9,
    "weight": lambda rng, _, samples: rng.uniform(0.5, 1.5, samples).astype(np.float32),
    "bias": lambda rng, rows, _: rng.standard_normal(rows, np.float32),
    "temperature": lambda rng, _, samples: rng.uniform(0.05, 0.2, samples).astype(np.float32),
}
TERMS: dict[str, Any] = {
    "label_smoothing": 0.1, "margin": 0.1, "decoupled": True, "debias": 0.1, "hardness": 1.0, "symmetric": True,
    "return_metrics": True, "exclude_positives": True, "form": "in",
}  # fmt: skip
SHARED = ("weight", "temperature", "label_smoothing", "margin", "decoupled", "debias", "hardness")
OPTIONS = {
    "info_nce": (*SHARED, "ids", "mask", "bias", "symmetric", "return_metrics"),
    "nt_xent": (*SHARED, "ids", "exclude_positives"),
    "sup_con": (*SHARED, "exclude_positives", "form"),
}


def call(module: Contenders, name: str, n: int, d: int, option: str | None = None) -> Call:
    """Value and gradient of a loss, plain or with an option."""
    rng, samples = np.random.default_rng(2), n // 2 if name == "nt_xent" else n
    arrays = {"labels": np.arange(n, dtype=np.int32) % (n // 2)} if name == "sup_con" else {}
    given = {"temperature": TEMPERATURE}
    if option in ARRAYS:
        arrays[option] = ARRAYS[option](rng, n, samples)
    elif option:
        given[option] = TERMS[option]
    loss: Any = getattr(infonce, name)
    by_autodiff = module.MODES != ("numpy",)
    if not by_autodiff:
        loss = infonce.value_and_grad(loss)

    def compute(query: Any, key: Any, *constants: Any) -> Any:
        rows = (query, key) if name != "sup_con" else (backend_of(query).xp.concat([query, key], axis=0),)
        found = loss(*rows, **{**given, **dict(zip(arrays, constants, strict=True))})
        if by_autodiff and option == "return_metrics":  # so that no compiler takes the metrics for unused
            return found[0] + 1e-30 * sum(found[1].values())
        return found

    case = Case.parse(f"one {n} {d}" if name == "info_nce" else f"nt_xent {n // 2} {d}")
    return module.timed(case, {name: compute}, constants=tuple(arrays.values()))[name]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--option", action="append", choices=[*ARRAYS, *TERMS], help="several may be given; default: all")
    chosen = made.parse_args()
    if each_in_its_process(chosen):
        return
    form = "tiny" if chosen.tiny else "quick" if chosen.quick else "full"
    (framework,), (n, d) = frameworks(chosen), SIZES[form]
    module, header = contenders(framework), _results.header(framework)
    for name, options in OPTIONS.items():
        plain = call(module, name, n, d)
        for option in options:
            if option not in (chosen.option or options):
                continue
            calls = {option: call(module, name, n, d, option), "without it": plain}
            timings = compare(calls, SECONDS[form], FEWEST_ROUNDS[form])
            case = f"{name} {option} {n} {d}"
            show(case, framework, timings)
            rows = [
                _results.Ratio(*header, "options", case, framework, t.ours_ms, t.contender, t.ratio, t.q1, t.q3)
                for t in timings
            ]
            _results.write(folder(chosen) / "options.csv", _results.Ratio, rows)


if __name__ == "__main__":
    main()
