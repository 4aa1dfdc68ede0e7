"""TensorFlow: infonce, the products alone and the plain formula, each one `tf.function`, with and without XLA."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

import infonce
from _cases import TEMPERATURE, Case
from _measure import Call

from ._limits import dense_fits, rows_of_products

MODES = ("tensorflow", "tensorflow:xla")
KINDS = ("one", "value", "none", "symmetric", "queue", "nt_xent")
Loss = Callable[..., Any]
cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits


def calls(case: Case, mode: str) -> dict[str, Call]:
    sides = [tf.constant(x) for x in case.sides()]
    return timed(case, {"infonce": ours(case), **losses_of_others(case)}, mode) | {
        name: Graph(functools.partial(products, case, block), sides, mode)
        for name, block in rows_of_products(case).items()
    }


def timed(
    case: Case, losses: Mapping[str, Loss], mode: str = MODES[0], constants: Iterable[Any] = ()
) -> dict[str, Call]:
    inputs = [tf.constant(x) for x in (*case.inputs(), *constants)]
    return {name: Graph(value_and_gradient(case, loss), inputs, mode) for name, loss in losses.items()}


class Graph:
    """A call of a `tf.function`; on a CPU it returns when it has run."""

    def __init__(self, function: Callable[..., Any], inputs: list[Any], mode: str) -> None:
        self.function: Any = tf.function(function, jit_compile=mode == "tensorflow:xla", autograph=False)
        self.inputs = inputs

    def compile(self) -> None:
        """Trace without running."""
        self.function.get_concrete_function(*self.inputs)

    def __call__(self) -> Any:
        return self.function(*self.inputs)


def value_and_gradient(case: Case, loss: Loss) -> Callable[..., Any]:
    cotangent = tf.constant(case.cotangent()) if case.kind == "none" else None

    def compute(*inputs: Any) -> tuple[Any, ...]:
        wanted = inputs[: case.wanted]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(wanted)
            value = loss(*inputs)
        return value, *tape.gradient(value, wanted, output_gradients=cotangent)

    return compute if case.wanted else lambda *inputs: (loss(*inputs),)


def ours(case: Case, block_size: int | None = None) -> Loss:
    options: dict[str, Any] = {"temperature": TEMPERATURE, "block_size": block_size}
    if case.kind == "nt_xent":
        return functools.partial(infonce.nt_xent, **options)
    if case.kind == "none":
        options["reduction"] = "none"
    if case.kind == "symmetric":
        options["symmetric"] = True
    return functools.partial(infonce.info_nce, **options)


def losses_of_others(case: Case) -> dict[str, Loss]:
    formulas = {
        "nt_xent": plain_nt_xent, "symmetric": plain_symmetric, "queue": plain_queue, "none": plain_rows,
    }  # fmt: skip
    return {"plain formula": formulas.get(case.kind, plain)} if dense_fits(case) else {}


def unit(x: Any) -> Any:
    return tf.math.l2_normalize(x, axis=1)


def logits_of(query: Any, key: Any) -> Any:
    return tf.matmul(unit(query) / TEMPERATURE, unit(key), transpose_b=True)


def plain_rows(query: Any, key: Any) -> Any:
    return cross_entropy(tf.range(tf.shape(query)[0]), logits_of(query, key))


def plain(query: Any, key: Any) -> Any:
    return tf.reduce_mean(plain_rows(query, key))


def plain_symmetric(query: Any, key: Any) -> Any:
    logits, rows = logits_of(query, key), tf.range(tf.shape(query)[0])
    return tf.reduce_mean(cross_entropy(rows, logits) + cross_entropy(rows, tf.transpose(logits))) / 2


def plain_queue(query: Any, key: Any, queue: Any) -> Any:
    query, key = unit(query) / TEMPERATURE, unit(key)
    positive = tf.reduce_sum(query * key, axis=1, keepdims=True)
    logits = tf.concat([positive, tf.matmul(query, unit(queue), transpose_b=True)], axis=1)
    return tf.reduce_mean(cross_entropy(tf.zeros(tf.shape(query)[0], tf.int32), logits))


def plain_nt_xent(first: Any, second: Any) -> Any:
    z, n = tf.concat([first, second], axis=0), first.shape[0]
    logits = tf.linalg.set_diag(logits_of(z, z), tf.fill([2 * n], -float("inf")))
    return tf.reduce_mean(cross_entropy(tf.roll(tf.range(2 * n), n, axis=0), logits))


def products(case: Case, block: int, left: Any, right: Any) -> Any:
    """The least that is to be multiplied: at once, or in a loop over blocks of rows."""
    count, blocks = case.products, case.rows // block
    turned = tf.transpose(right)  # once: a product with a transpose takes longer

    def multiply(rows: Any) -> tuple[Any, Any]:
        logits = tf.matmul(rows, turned)
        of_rows = tf.matmul(logits, right) if count > 1 else logits
        return of_rows, tf.matmul(logits, rows, transpose_a=True) if count > 2 else right[:0]

    if blocks == 1:
        return multiply(left)

    def body(i: Any, d_left: Any, d_right: Any) -> tuple[Any, Any, Any]:
        of_rows, of_right = multiply(tf.slice(left, [i * block, 0], [block, case.d]))
        of_rows = of_rows if count > 1 else of_rows[:, :1]  # the logits of a block must not outlive it
        return i + 1, d_left.write(i, of_rows), d_right + of_right

    start = tf.TensorArray(tf.float32, blocks), tf.zeros_like(right if count > 2 else right[:0])
    _, d_left, d_right = tf.while_loop(lambda i, *_: i < blocks, body, [tf.constant(0), *start])
    return d_left.stack(), d_right
