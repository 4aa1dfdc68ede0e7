"""A store of past keys: more negatives than a batch holds (MoCo, memory banks)."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

from . import checks
from .backend import Backend
from .typing import Array


class Queue(NamedTuple, Generic[Array]):
    """The keys pushed last, newest first: a tuple of arrays, of any framework.

    `push` returns a new queue, so that it goes through compilers and loops as any other state does. Queued keys are
    constants: no gradient flows back into what was pushed. The slots are empty at first, and `mask` keeps empty ones
    from counting.

    References:
        He et al. 2019 (MoCo), arXiv:1911.05722. Wu et al. 2018 (memory banks), arXiv:1805.01978.

    Example:
        A step of MoCo scores against the queue, then pushes. `ids` name the samples: one that is still queued from an
        earlier step is no negative of itself. Each query below has the other sample alone: log(1 + e^-1) = 0.3133.

        >>> import numpy as np
        >>> from infonce import Queue, info_nce
        >>> query, key, ids = np.eye(2), np.eye(2), np.asarray([7, 8])
        >>> queue = Queue.empty(3, like=key, ids=ids).push(key, ids)
        >>> queue.mask
        array([ True,  True, False])
        >>> loss = info_nce(query, key, queue.keys, 1.0, ids=ids, negative_ids=queue.ids, mask=queue.mask)
        >>> float(np.round(loss, 4))
        0.3133
        >>> queue = queue.push(key, ids)
    """

    keys: Array  # (size, D), as they were pushed
    mask: Array  # (size,), booleans: which slots are filled
    ids: Array | None = None  # (size,), integers: which sample each key is of, 0 in empty slots

    @classmethod
    def empty(cls, size: int, like: Any, ids: Any = None) -> Queue[Any]:
        """Return a queue of empty slots.

        Args:
            size: How many keys it holds.
            like: Keys as they will be pushed, (N, D), for the width, the dtype and the device; their values, and N,
                do not matter.
            ids: The same for their ids: integers, (N,). None: the queue has no ids.

        Raises:
            ValueError: `size` is below 1, or a shape or a device is wrong.
            TypeError: `size` is no int, `like` is no floating-point array, or `ids` are no integers.
        """
        b = _checked("like", like, ids)
        xp, zeros = b.xp, b.indices(like, checks.positive_int("size", size)) * 0  # (1, size) integers
        row = xp.sum(xp.zeros_like(like), axis=0, keepdims=True)  # of no rows too
        column = xp.matrix_transpose(xp.astype(zeros, like.dtype))
        zeros = xp.squeeze(zeros, axis=0)
        return cls(
            xp.astype(column + row, like.dtype), zeros != 0, None if ids is None else xp.astype(zeros, ids.dtype)
        )

    def push(self, keys: Any, ids: Any = None) -> Queue[Any]:
        """Return the queue with these keys in front, in their order, and as many of the oldest gone.

        Args:
            keys: (N, D), of the queue's width, dtype and device, N at most its size.
            ids: (N,), integers of the queue's dtype; exactly where the queue has ids.

        Raises:
            ValueError: There are more keys than slots, `ids` are missing or none are kept, or a shape or a device is
                wrong.
            TypeError: A dtype is not the queue's, or the arrays are of several frameworks.
        """
        b = _checked("keys", keys, ids, self)
        xp, size = b.xp, b.size(self.keys)
        filled = xp.squeeze(b.indices(keys, b.size(keys)), axis=0) >= 0

        def joined(new: Any, old: Any) -> Any:
            return xp.concat([new, old], axis=0)[:size, ...]

        return Queue(
            joined(b.stop_gradient(keys), self.keys),
            joined(filled, self.mask),
            None if self.ids is None else joined(ids, self.ids),
        )


def _checked(name: str, keys: Any, ids: Any, queue: Queue[Any] | None = None) -> Backend:
    """The backend of keys and ids that fit each other and the queue."""
    arrays = {name: keys} if ids is None else {name: keys, "ids": ids}
    b = checks.find_backend(arrays if queue is None else {**arrays, "the queue's keys": queue.keys})
    checks.embeddings(b, {name: keys}, False, "none")
    if ids is not None:
        dtype, shape = b.dtype(ids), b.shape(ids)
        if not dtype.startswith(("int", "uint")):
            raise TypeError(f"ids must be integers; received {dtype}. Give each sample an integer, such as its index.")
        if len(shape) != 1:
            raise ValueError(f"ids must have 1 dimension, (N,); received shape {checks.shown(shape)}.")
        checks.same_size((name, b.shape(keys)), ("ids", shape), 0, "rows N")
        checks.same_device(b, (name, keys), ("ids", ids))
    if queue is not None:
        _fit(b, keys, ids, queue)
    return b


def _fit(b: Backend, keys: Any, ids: Any, queue: Queue[Any]) -> None:
    """Whether keys and ids can be pushed to the queue."""
    rows, size = b.shape(keys)[0], b.shape(queue.keys)[0]
    checks.same_size(("keys", b.shape(keys)), ("the queue's keys", b.shape(queue.keys)), -1, "features D")
    checks.same_device(b, ("keys", keys), ("the queue's keys", queue.keys))
    if rows is not None and size is not None and rows > size:
        raise ValueError(
            f"keys must be no more than the queue holds; received {rows} keys for {size} slots. Make the queue larger."
        )
    if (ids is None) != (queue.ids is None):
        raise ValueError(
            "this queue keeps ids; received None. Pass the ids of the keys."
            if ids is None
            else "this queue keeps no ids; received some. Pass ids to Queue.empty as well."
        )
    for what, new, old in (("keys", keys, queue.keys), ("ids", ids, queue.ids)):
        if new is not None and b.dtype(new) != b.dtype(old):
            raise TypeError(f"{what} must have the queue's dtype, {b.dtype(old)}; received {b.dtype(new)}. Cast them.")
