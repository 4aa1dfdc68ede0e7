"""The engine as torch calls it: at once, without in-place operations, or as one opaque operator of a compiled graph.

A compiled graph holds what a small batch takes itself: there the call of the operator costs more than all it does.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from infonce import plain
from infonce.engine import solve
from infonce.measures import NAMES
from infonce.problem import Inputs, Options

from . import _small
from ._arithmetic import SMALL, TorchArithmetic


def compute(
    options: Options,
    inputs: Inputs,
    wanted: tuple[str, ...],
    cotangent: Tensor | None = None,
    kept: tuple[Tensor, ...] = (),
) -> tuple[Tensor, ...]:
    """The loss, what is measured, and the gradients of `wanted`, in their order and in the compute dtype."""
    if not torch.compiler.is_compiling():
        return run(options, inputs, wanted, cotangent, kept)
    number = not isinstance(inputs.temperature, Tensor)
    inputs = inputs._replace(temperature=as_tensor(inputs.temperature))
    if is_small(options, inputs):
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            loss, gradients, measures = solve(FUNCTIONAL, options, inputs, wanted, cotangent)
        return loss, *measures, *gradients.values()
    return tuple(operator(list(inputs), number, cotangent, *flat(options), ",".join(wanted)))


NOTHING = contextlib.nullcontext()
FUNCTIONAL = TorchArithmetic(in_place=False)
CAN_TRACE = torch.torch_version.TorchVersion(torch.__version__) >= "2.13"  # older versions are not known to


def as_tensor(temperature: Any) -> Tensor:
    """The temperature as a tensor: one that is a number keeps its digits, and to the graph it stays a symbol."""
    if isinstance(temperature, Tensor):
        return temperature
    one = torch.ones((), dtype=torch.float64, device="cpu")
    return one.mul(temperature)  # torch.full would compile anew for each temperature of a schedule


def is_small(options: Options, inputs: Inputs) -> bool:
    """Whether a compiled graph holds the engine's own operations: few, of a loss without options."""
    query, key = inputs.query, inputs.positive_key
    if not CAN_TRACE or query.device.type != "cpu" or options.block_size is not None:
        return False
    return plain.applies(FUNCTIONAL, options, inputs) and bool(query.shape[0] * key.shape[0] <= SMALL)


def with_number(inputs: list[Tensor | None], number: bool) -> Inputs:
    """The inputs as the caller gave them, the temperature a number again where it was one."""
    found = Inputs(*inputs)
    return found._replace(temperature=found.temperature.item()) if number else found


def hides_batch(cotangent: Tensor | None) -> bool:
    """Whether the cotangent may be a batch of them: of a transform, or of `is_grads_batched`, which is none."""
    if torch._C._are_functorch_transforms_active():
        return True
    return cotangent is not None and torch._C._functorch.is_legacy_batchedtensor(cotangent)


def run(
    options: Options,
    inputs: Inputs,
    wanted: tuple[str, ...],
    cotangent: Tensor | None = None,
    kept: tuple[Tensor, ...] = (),
) -> tuple[Tensor, ...]:
    """Run the engine unseen by autograd, and without autocast, which would compute a float32 call in bfloat16."""
    device = inputs.query.device.type
    # A transform's tensors may hide a batch; a subclass's, or those on the meta device, may hold no values.
    hidden = device == "meta" or hides_batch(cotangent)
    arithmetic = TorchArithmetic(
        in_place=not hidden and type(inputs.query) in (Tensor, torch.nn.Parameter), device=device
    )
    cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    unseen = torch.no_grad() if torch.is_grad_enabled() else NOTHING
    with unseen, torch.autocast(device, enabled=False) if cast else NOTHING:
        made = bool(wanted) and (options.reduction != "none" or cotangent is not None)  # whether gradients are
        if arithmetic.in_place and device == "cpu" and _small.applies(arithmetic, options, inputs, made):
            found = _small.solve(arithmetic, options, inputs, wanted, cotangent, kept)
            if found is not None:
                return found
        again = dict(zip(plain.KEPT, kept, strict=False))
        loss, gradients, measures = solve(arithmetic, options, inputs, wanted, cotangent, again)
    # A product may lie column by column in memory, and so may the exponentials that a cotangent is to come for.
    return loss, *measures, *(x.contiguous() if made else x for x in gradients.values())


def _solve(
    inputs: list[Tensor | None],
    number: bool,
    cotangent: Tensor | None,
    reduction: str,
    block_size: int | None,
    flags: list[bool],
    views: int,
    numbers: list[float],
    wanted: str,
) -> list[Tensor]:
    """`run` behind a signature that a graph can hold: its cost to compile does not depend on N."""
    options = gathered(reduction, block_size, flags, views, numbers)
    return list(run(options, with_number(inputs, number), names(wanted), cotangent))


# What `torch.library.custom_op` does for autograd in each call costs a small batch dear.
_library = torch.library.Library("infonce", "DEF")  # type: ignore[no-untyped-call]
_schema = "solve" + torch.library.infer_schema(_solve, mutates_args=())
_library.define(_schema, tags=torch.Tag.pt2_compliant_tag)  # type: ignore[no-untyped-call]
_library.impl("solve", _solve, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
operator = torch.ops.infonce.solve.default


def _past_autograd(inputs: list[Tensor | None], *others: Any) -> list[Tensor]:
    """Autograd sees `Loss`, never this. A tangent of forward mode would be dropped without a word."""
    if any(x is not None and torch._VF._unpack_dual(x, 0)[1] is not None for x in inputs):
        raise NotImplementedError(
            "infonce losses of large batches have no forward mode derivative in PyTorch under torch.compile. Leave out "
            "torch.compile, or use JAX or TensorFlow."
        )
    with torch._C._AutoDispatchBelowAutograd():
        return operator(inputs, *others)  # type: ignore[no-any-return]


_library.impl("solve", _past_autograd, "Autograd")  # type: ignore[no-untyped-call]


@torch.library.register_fake("infonce::solve", lib=_library)  # type: ignore[untyped-decorator]
def _(
    inputs: list[Tensor | None],
    number: bool,
    cotangent: Any,
    reduction: str,
    block: Any,
    flags: Any,
    views: Any,
    numbers: Any,
    wanted: str,
) -> list[Tensor]:
    arrays = Inputs(*inputs)
    dtype, query = compute_dtype(arrays), arrays.query
    loss = query.new_empty(query.shape[:1] if reduction == "none" else (), dtype=dtype)
    count = measured(gathered(reduction, block, flags, views, numbers))
    measures = [query.new_empty(query.shape[:1] if i == len(NAMES) else (), dtype=dtype) for i in range(count)]
    return [loss, *measures, *(query.new_empty(getattr(arrays, name).shape, dtype=dtype) for name in names(wanted))]


@torch.library.register_vmap("infonce::solve", lib=_library)  # type: ignore[untyped-decorator]
def _(info: Any, in_dims: Any, inputs: Any, number: Any, cotangent: Any, *rest: Any) -> tuple[list[Tensor], list[int]]:
    *flat_options, wanted = rest

    def one(inputs: list[Tensor | None], cotangent: Tensor | None) -> tuple[Tensor, ...]:
        return run(gathered(*flat_options), with_number(inputs, number), names(wanted), cotangent)

    found = torch.vmap(one, in_dims=(in_dims[0], in_dims[2]))(inputs, cotangent)
    return list(found), [0] * len(found)


def measured(options: Options) -> int:
    """How many outputs stand between the loss and the gradients."""
    return options.measure * (len(NAMES) + 2 * options.rank)


def compute_dtype(inputs: Inputs) -> torch.dtype:
    return torch.float64 if torch.float64 in [x.dtype for x in inputs[:3] if x is not None] else torch.float32


def flat(options: Options) -> tuple[str, int | None, list[bool], int, list[float]]:
    """The options in types that a custom operator takes; `gathered` puts them together again."""
    flags, numbers = ([getattr(options, name) for name in names] for names in (FLAGS, NUMBERS))
    return options.reduction, options.block_size, flags, options.views, numbers


def gathered(reduction: str, block_size: int | None, flags: list[bool], views: int, numbers: list[float]) -> Options:
    options: dict[str, Any] = {**dict(zip(FLAGS, flags, strict=True)), **dict(zip(NUMBERS, numbers, strict=True))}
    return Options(reduction, block_size, views=views, **options)


FLAGS = tuple(name for name, kind in Options.__annotations__.items() if "bool" in str(kind))
NUMBERS = tuple(name for name, kind in Options.__annotations__.items() if "float" in str(kind))


def names(wanted: str) -> tuple[str, ...]:
    return tuple(wanted.split(",")) if wanted else ()
