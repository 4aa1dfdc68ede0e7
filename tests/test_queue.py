"""`Queue`: the last keys that were pushed, as a state that any framework's compilers carry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infonce import Queue, info_nce, value_and_grad

from ._frameworks import Framework
from ._frameworks import framework as framework_of

SIZE, D = 7, 3
RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(size=(rows, D)) for rows in (3, 2, 4, 0, 1, 7, 5)]
IDS = [np.arange(10 * i, 10 * i + len(keys)) for i, keys in enumerate(BATCHES)]


class Model:
    """The queue as a list of (key, id), newest first."""

    def __init__(self) -> None:
        self.held: list[tuple[NDArray[np.float64], int]] = []

    def push(self, keys: NDArray[np.float64], ids: NDArray[np.int64]) -> None:
        self.held = [*zip(keys, ids.tolist(), strict=True), *self.held][:SIZE]

    def check(self, framework: Framework, queue: Queue[Any], dtype: str, ids_dtype: str | None) -> None:
        filled = len(self.held)
        keys, mask = framework.values(queue.keys), framework.values(queue.mask)
        assert framework.dtype(queue.keys) == dtype
        assert framework.dtype(queue.mask) == "bool"
        assert keys.shape == (SIZE, D)
        np.testing.assert_array_equal(mask, np.arange(SIZE) < filled)
        np.testing.assert_array_equal(keys[:filled], np.asarray([key for key, _ in self.held]).reshape(-1, D))
        if ids_dtype is None:
            assert queue.ids is None
            return
        assert framework.dtype(queue.ids) == ids_dtype
        ids = framework.values(queue.ids)
        np.testing.assert_array_equal(ids, [*(i for _, i in self.held), *[0] * (SIZE - filled)])


@pytest.mark.parametrize("ids_dtype", [None, "int32", "int64"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_holds_the_last_keys(framework: Framework, dtype: str, ids_dtype: str | None) -> None:
    if dtype in framework.toolkit.lacking():
        pytest.skip(framework.toolkit.lacking()[dtype])

    def own_ids(ids: Any) -> Any:
        return None if ids_dtype is None else framework.array(ids, ids_dtype)

    rounded = [framework.array(keys, dtype) for keys in BATCHES]
    queue, model = Queue.empty(SIZE, like=rounded[0], ids=own_ids(IDS[0])), Model()
    model.check(framework, queue, dtype, ids_dtype)
    for keys, ids in zip(rounded, IDS, strict=True):
        before = [framework.values(x) for x in queue if x is not None]
        pushed = queue.push(keys, own_ids(ids))
        for x, old in zip((x for x in queue if x is not None), before, strict=True):
            np.testing.assert_array_equal(framework.values(x), old)
        queue = pushed
        model.push(framework.values(keys), ids)
        model.check(framework, queue, dtype, ids_dtype)


def test_empty_takes_no_values_and_no_rows(framework: Framework) -> None:
    for like in (np.full((2, D), math.nan), np.full((2, D), math.inf), np.zeros((0, D))):
        queue = Queue.empty(4, like=framework.array(like))
        np.testing.assert_array_equal(framework.values(queue.keys), np.zeros((4, D)))
        assert not np.any(framework.values(queue.mask))


def test_numpy_keys_are_copied() -> None:
    keys = np.ones((7, D))
    queue = Queue.empty(7, like=keys).push(keys)
    keys[:] = 2
    assert np.all(queue.keys == 1)


# With the loss.


def moco_loss(query: Any, key: Any, ids: Any, held: list[tuple[Any, int]], t: float = 0.5) -> float:
    """The mean over the rows, from a list of (key, id) that are negatives where the id is another."""

    def unit(x: Any) -> Any:
        return x / np.linalg.norm(x)

    losses = []
    for q, k, own in zip(query, key, ids, strict=True):
        others = [float(unit(q) @ unit(x)) / t for x, i in held if i != own]
        positive = float(unit(q) @ unit(k)) / t
        losses.append(math.log1p(sum(math.exp(z - positive) for z in others)))
    return float(np.mean(losses))


def test_moco_by_the_definition(framework: Framework) -> None:
    """Samples come back while they are still queued, under another view."""
    rng = np.random.default_rng(1)
    queue, model = None, Model()
    for ids in (np.asarray([0, 1, 2]), np.asarray([3, 1, 4]), np.asarray([4, 0, 5]), np.asarray([6, 7, 4])):
        query, key = rng.normal(size=(2, 3, D))
        q, k, own = (framework.array(x) for x in (query, key, ids))
        if queue is None:
            queue = Queue.empty(SIZE, like=k, ids=own)
        options = {"temperature": 0.5, "ids": own, "negative_ids": queue.ids, "mask": queue.mask}
        loss = framework.values(info_nce(q, k, queue.keys, **options))
        np.testing.assert_allclose(loss, moco_loss(query, key, ids, model.held), rtol=1e-13, atol=1e-15)
        queue = queue.push(k, own)
        model.push(key, ids)


def test_queued_batch_adds_nothing_to_itself(framework: Framework) -> None:
    """After its push, a batch's own entries still are no negatives of its own rows: each has the other's alone."""
    query, key = np.eye(2), np.eye(2)
    q, k, ids = framework.array(query), framework.array(key), framework.array(np.asarray([5, 6]))
    queue = Queue.empty(4, like=k, ids=ids).push(k, ids)
    loss = info_nce(q, k, queue.keys, 1.0, ids=ids, negative_ids=queue.ids, mask=queue.mask)
    np.testing.assert_allclose(framework.values(loss), math.log1p(math.exp(-1)), rtol=1e-14)


def test_empty_queue_gives_no_loss_and_no_gradient(framework: Framework) -> None:
    q, k = (framework.array(x) for x in RNG.normal(size=(2, 4, D)))
    queue = Queue.empty(SIZE, like=k)
    loss, gradients = value_and_grad(info_nce)(q, k, queue.keys, mask=queue.mask)
    assert framework.values(loss) == 0
    for name, gradient in gradients.items():
        assert np.all(framework.values(gradient) == 0), name


def test_no_gradient_reaches_what_was_pushed(autodiff: Framework) -> None:
    q, k, older = (autodiff.array(x) for x in RNG.normal(size=(3, 4, D)))

    def loss(x: Any) -> Any:
        queue = Queue.empty(SIZE, like=x).push(x)
        return info_nce(q, k, queue.keys, mask=queue.mask)

    if autodiff.name == "torch":
        older.requires_grad_()
        assert not loss(older).requires_grad
        assert not Queue.empty(SIZE, like=older).keys.requires_grad
    elif autodiff.name == "jax":
        import jax

        assert np.all(np.asarray(jax.grad(loss)(older)) == 0)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(older)
            value = loss(older)
        assert tape.gradient(value, older) is None


# Compiled, as a state.


def step(queue: Queue[Any], keys: Any, ids: Any) -> Queue[Any]:
    return queue.push(keys, ids)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
def test_push_compiles(autodiff: Framework) -> None:
    calls: list[Callable[..., Any]] = []
    if autodiff.name == "torch":
        import torch

        torch._dynamo.reset()
        calls += [
            torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic) for dynamic in (False, True)
        ]
    elif autodiff.name == "jax":
        import jax

        calls.append(jax.jit(step))
    else:
        import tensorflow as tf

        calls += [tf.function(step, jit_compile=jit_compile) for jit_compile in (False, True)]
        calls.append(tf.function(step, reduce_retracing=True))
    for call in calls:
        queue = Queue.empty(SIZE, like=autodiff.array(BATCHES[0]), ids=autodiff.array(IDS[0]))
        model = Model()
        for keys, ids in zip(BATCHES[:3], IDS, strict=False):
            queue = call(queue, autodiff.array(keys), autodiff.array(ids))
            assert type(queue) is Queue
            model.push(keys, ids)
            model.check(autodiff, queue, "float64", "int64")


def test_scan_carries_a_queue() -> None:
    import jax

    framework = framework_of("jax")
    with framework.settings():
        keys, ids = RNG.normal(size=(5, 2, D)), np.arange(10).reshape(5, 2)
        queue = Queue.empty(SIZE, like=framework.array(keys[0]), ids=framework.array(ids[0]))
        xs = framework.array(keys), framework.array(ids)
        queue, _ = jax.lax.scan(lambda queue, x: (queue.push(*x), None), queue, xs)
        model = Model()
        for batch, own in zip(keys, ids, strict=True):
            model.push(batch, own)
        model.check(framework, queue, "float64", "int64")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_while_loop_carries_a_queue(jit_compile: bool) -> None:
    import tensorflow as tf

    framework = framework_of("tensorflow")
    keys, ids = RNG.normal(size=(5, 2, D)), np.arange(10).reshape(5, 2)

    @tf.function(jit_compile=jit_compile)
    def run(keys: Any, ids: Any) -> Any:
        queue = Queue.empty(SIZE, like=keys[0], ids=ids[0])
        body = lambda i, queue: (i + 1, queue.push(keys[i], ids[i]))  # noqa: E731
        return tf.while_loop(lambda i, queue: i < 5, body, (0, queue))[1]

    model = Model()
    for batch, own in zip(keys, ids, strict=True):
        model.push(batch, own)
    model.check(framework, run(tf.constant(keys), tf.constant(ids)), "float64", "int64")


def test_open_number_of_rows() -> None:
    import tensorflow as tf

    framework = framework_of("tensorflow")
    push = tf.function(
        lambda queue, keys, ids: queue.push(keys, ids),
        input_signature=[
            Queue(
                tf.TensorSpec([SIZE, D], tf.float64), tf.TensorSpec([SIZE], tf.bool), tf.TensorSpec([SIZE], tf.int64)
            ),
            tf.TensorSpec([None, D], tf.float64),
            tf.TensorSpec([None], tf.int64),
        ],
    )
    queue, model = Queue.empty(SIZE, like=tf.constant(BATCHES[0]), ids=tf.constant(IDS[0])), Model()
    for keys, ids in zip(BATCHES, IDS, strict=True):
        queue = push(queue, tf.constant(keys), tf.constant(ids))
        model.push(keys, ids)
        model.check(framework, queue, "float64", "int64")
