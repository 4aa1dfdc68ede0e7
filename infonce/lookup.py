"""The backend of an array, found from its type."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

import array_api_compat

from .backend import Backend


def backend_of(x: object) -> Backend | None:
    """The backend of one argument, found from its type alone; None when it is an array of no known library."""
    # An import statement in each branch, and no cache: torch.compile traces through these, not through a registry.
    for base in type(x).__mro__[:-1]:
        root = base.__module__.partition(".")[0]
        if root == "torch":
            from infonce.torch._backend import BACKEND as torch_backend

            return torch_backend
        if root == "numpy":
            from infonce.numpy._backend import BACKEND as numpy_backend

            return numpy_backend
        if root in ("jax", "jaxlib"):
            from infonce.jax._backend import BACKEND as jax_backend

            return jax_backend
        if root == "tensorflow":
            from infonce.tensorflow._backend import BACKEND as tensorflow_backend

            return tensorflow_backend
    return _other_backend(x)


def _other_backend(x: object) -> Backend | None:
    """A backend from another package, or the one of every array that brings its namespace."""
    for base in type(x).__mro__[:-1]:
        found = _entry_point(base.__module__.partition(".")[0])
        if found is not None:
            return found
    if array_api_compat.is_array_api_obj(x):
        from infonce.numpy._backend import array_api_backend

        return array_api_backend(array_api_compat.array_namespace(x))
    return None


@functools.cache
def _entry_point(root: str) -> Backend | None:
    """What another package offers for the arrays of the library `root`."""
    for entry in entry_points(group="infonce.backends", name=root):
        return entry.load()  # type: ignore[no-any-return]
    return None
