"""What the engine computes with on TensorFlow tensors: a while_loop over blocks, for known and unknown shapes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from infonce.arithmetic import Arithmetic, Body
from infonce.blocks import ON_CPU, ON_GPU, Blocks, Held, alone, of_each, with_rest

from . import _namespace


class TensorFlowArithmetic(Arithmetic):
    xp = _namespace

    def shape(self, x: Any) -> tuple[int | None, ...]:
        if x.shape.rank is None:
            raise ValueError("a tensor of unknown rank has no rows: give its shape, for example with tf.ensure_shape.")
        return tuple(x.shape)

    def dtype(self, x: Any) -> str:
        return str(x.dtype.name)

    def size(self, x: Any) -> Any:
        return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]

    def indices(self, like: Any, n: Any) -> Any:
        return tf.range(n)[None, :]

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        known = rows[0].shape[0]
        shapes_known = all(x is None or isinstance(x, Held) or None not in x.shape[1:] for x in rows)
        if (known is not None and known <= block) or not shapes_known:
            return body(0, of_each(alone, rows), None)
        if known is None:  # XLA wants every slice within bounds, whether it is taken or not: there is always a block
            n: Any = tf.shape(rows[0])[0]
            block = tf.minimum(block, n)
            count = tf.maximum(n // tf.maximum(block, 1), 1)
        else:
            n, count = known, known // block
        whole = count * block
        rest = known is None or n % block > 0  # of an unknown number perhaps no rows, which is a block like any other
        found = _blocks(body, start(), rows, block, count)
        return with_rest(body, rows, whole, rest, found, lambda x: tf.concat(x, 0))

    def blocks(self) -> Blocks:
        return ON_GPU if tf.config.list_logical_devices("GPU") else ON_CPU

    def after(self, done: Any, x: Any) -> Any:
        with tf.control_dependencies([done]):  # of a graph, whose operations else run as soon as they can
            return tf.nest.map_structure(lambda y: tf.identity(y) if tf.is_tensor(y) else y, x)

    def zeros_after(self, done: Any, like: Any) -> Any:
        zero = tf.minimum(tf.abs(tf.reduce_sum(done[:1, :1])), 0)  # of a zero that is known the graph would hold all
        return tf.fill(tf.shape(like), tf.cast(zero, like.dtype))

    def stop_gradient(self, x: Any) -> Any:
        return tf.stop_gradient(x)

    def scores(self, rows: Any, keys: Any, part: int = 0, alone: bool = False) -> Any:
        with where_made(keys):  # a product with a transpose takes longer
            turned = tf.transpose(keys)
        return tf.matmul(rows, turned)

    def add_both(self, total: Any, p: Any, rows: Any, partners: Any, first_row: Any) -> Any:
        theirs, size = tf.matmul(p, rows, transpose_a=True), self.size(rows)
        both = tf.concat([theirs[:size] + tf.matmul(p, partners), theirs[size:]], 0)
        return self.put(total, first_row, self.take(total, first_row, self.size(partners)) + both)

    def outside_visit(self, x: Any, rows: Any, views: int) -> tuple[Any, Any]:
        if x.shape[0] is None:
            return super().outside_visit(x, rows, views)
        with where_made(rows):
            return super().outside_visit(x, rows, views)

    def write_own(self, x: Any, first_row: Any, value: Any) -> Any:
        row = tf.range(self.size(x))
        value = tf.fill(tf.shape(row), tf.constant(value, x.dtype)) if isinstance(value, float) else value[:, 0]
        if x.shape[0] and isinstance(first_row, int):  # XLA must know the place
            return tf.linalg.set_diag(x, value, k=first_row)  # in place: a scatter copies the block
        return tf.tensor_scatter_nd_update(x, tf.stack([row, row + first_row], axis=1), value)

    def mask_samples(self, x: Any, samples: int, views: int) -> Any:
        if x.shape[0]:
            for first in range((1 - views) * samples, views * samples, samples):
                x = tf.linalg.set_diag(x, tf.fill([x.shape[0] - abs(first)], tf.constant(-math.inf, x.dtype)), k=first)
            return x
        row = tf.range(self.size(x))
        entries = [tf.stack([row, (row + k * samples) % self.size(x)], axis=1) for k in range(views)]
        absent = tf.fill([views * self.size(x)], tf.constant(-math.inf, x.dtype))
        return tf.tensor_scatter_nd_update(x, tf.concat(entries, axis=0), absent)

    def take(self, x: Any, first_row: Any, rows: Any) -> Any:
        rest = [-1 if size is None else size for size in x.shape[1:]]
        return tf.slice(x, [first_row] + [0] * (x.shape.rank - 1), [rows, *rest])

    def put(self, x: Any, first_row: Any, rows: Any) -> Any:
        index = first_row + tf.range(tf.shape(rows)[0])
        return tf.tensor_scatter_nd_update(x, index[:, None], rows)


def where_made(x: Any) -> Any:
    """The graph in which `x` was made: outside a loop, for what is the same for all of its blocks."""
    graph = getattr(x, "graph", None)  # an eager tensor has none
    return contextlib.nullcontext() if graph is None else graph.as_default()


def _blocks(body: Body, sums: tuple[Any, ...], rows: tuple[Any, ...], block: Any, count: Any) -> Any:
    """The whole blocks by a while_loop; None cannot go through it, and is left out and put back."""

    def run(i: Any, flat: list[Any], held: Iterable[Any]) -> Any:
        found = iter(held)

        def of_block(x: Any) -> Any:
            if isinstance(x, Held):
                return next(found)
            return tf.slice(x, [i * block] + [0] * (x.shape.rank - 1), [block, *x.shape[1:]])

        return body(i * block, of_each(of_block, rows), _restored(flat, sums))

    start, held = _present(sums), [x.blocks[0] for x in rows if isinstance(x, Held)]
    given = (tf.TensorSpec(x.element_shape, x.dtype) for x in held)  # an eager store cannot be read in a graph
    trace = tf.function(lambda i, *held: run(i, start, held), autograph=False)
    form, _ = trace.get_concrete_function(tf.TensorSpec([], tf.int32), *given).structured_outputs
    arrays = [alone(x) for x in _present(form)]
    stores = [tf.TensorArray(x.dtype, count, element_shape=x.shape) for x in arrays]

    def step(i: Any, flat: list[Any], stores: list[Any]) -> Any:
        outputs, new = run(i, flat, [x.read(i) for x in held])
        return i + 1, _present(new), [s.write(i, alone(x)) for s, x in zip(stores, _present(outputs), strict=True)]

    _, flat, stores = tf.while_loop(
        lambda i, *_: i < count, step, (0, start, stores), parallel_iterations=1, maximum_iterations=count
    )

    def joined(x: Any, store: Any) -> Any:
        return Held(store) if isinstance(x, Held) else tf.reshape(store.stack(), [-1, *x.shape[1:]])

    return of_each(joined, form, _restored(stores, form)), _restored(flat, sums)


def _present(xs: Any) -> list[Any]:
    return [x for x in xs if x is not None]


def _restored(xs: list[Any], form: Any) -> tuple[Any, ...]:
    rest = iter(xs)
    return tuple(None if x is None else next(rest) for x in form)
