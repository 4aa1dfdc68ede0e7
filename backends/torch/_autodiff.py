"""How torch's autograd, torch.func and torch.compile see the engine.

The forward pass computes the gradients and saves only them; the backward pass multiplies them by the cotangent. With
reduction "none" that cotangent is not known before, and the backward pass computes them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from infonce.problem import DIFFERENTIABLE, Inputs, Options

from ._operator import as_tensor, compute, hides_batch, is_small, measured, run

# Whether the graph may be used again, so that what it holds must stay as it is; torch says so nowhere else.
keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph

TEMPERATURE = Inputs._fields.index("temperature")  # which may be a number


class Loss(Function):
    """The loss, with the gradients as outputs that are not differentiable themselves."""

    generate_vmap_rule = True

    @staticmethod
    def forward(options: Options, wanted: tuple[str, ...], *inputs: Any) -> tuple[Tensor, ...]:
        ahead = () if options.reduction == "none" else wanted
        return compute(options, Inputs(*inputs), ahead)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.options, ctx.wanted, *given = inputs
        late = ctx.options.reduction == "none"
        ctx.number = None if isinstance(given[TEMPERATURE], Tensor) else given[TEMPERATURE]
        # Kept for a second derivative to find the error; what needs no gradient may be overwritten, as queues are.
        arrays = [
            x if (late or name in ctx.wanted) and not (ctx.number is not None and name == "temperature") else None
            for name, x in zip(Inputs._fields, given, strict=True)
        ]
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, *output[1 + measured(ctx.options) :])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        cotangent, saved = cotangents[0], ctx.saved_tensors
        if cotangent is None:
            return (None,) * (2 + len(Inputs._fields))
        if ctx.number is not None:
            saved = (*saved[:TEMPERATURE], ctx.number, *saved[TEMPERATURE + 1 :])
        # The saved gradients are constants to autograd: a second derivative through them would be silently wrong.
        pull = Pull.apply if torch.is_grad_enabled() else Pull.forward
        gradients = pull(ctx.options, ctx.wanted, cotangent, *saved)
        found = dict(zip(ctx.wanted, gradients, strict=True))
        return (None, None, *map(found.get, Inputs._fields))


class EagerLoss(Function):
    """`Loss` without transforms: autograd sees the arrays that get a gradient and nothing else.

    It costs a third of `Loss`, whose signature torch looks up in each call: more than a small batch does.
    """

    @staticmethod
    def forward(
        ctx: Any, options: Options, wanted: tuple[str, ...], inputs: Inputs, *arrays: Tensor
    ) -> Tensor | tuple[Tensor, ...]:
        late = options.reduction == "none"
        outputs = run(options, inputs, wanted)
        answers = 1 + measured(options)
        ctx.options, ctx.wanted, ctx.gradients = options, wanted, () if late else outputs[answers:]
        # Of the other arrays none is kept unless it is needed: a queue may be overwritten before the backward pass.
        ctx.temperature = None if isinstance(inputs.temperature, Tensor) else inputs.temperature
        needed = (*(x if isinstance(x, Tensor) else None for x in inputs), *outputs[answers:]) if late else ()
        ctx.save_for_backward(*arrays, *needed)
        if not options.measure:
            return outputs[0]
        ctx.mark_non_differentiable(*outputs[1:answers])
        return outputs[:answers]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        arrays = ctx.saved_tensors  # raises where one was overwritten
        wanted, options = ctx.wanted, ctx.options
        if options.reduction != "none" and not torch.is_grad_enabled():
            gradients = ctx.gradients
            once = cotangent.is_cpu and not torch.compiler.is_compiling() and not keeps_graph()
            if once:
                ctx.gradients = ()  # what the graph held, too, would be copied to become a leaf's gradient
            found = (scaled(g, cotangent, x, once) for g, x in zip(gradients, arrays, strict=True))
            return (None, None, None, *found)
        gradients = ctx.gradients
        if options.reduction == "none":
            end = len(wanted) + len(Inputs._fields)
            inputs, gradients = Inputs(*arrays[len(wanted) : end]), arrays[end:]
        else:
            inputs = Inputs(**{"query": None, **dict(zip(wanted, arrays, strict=False))})
        if ctx.temperature is not None:
            inputs = inputs._replace(temperature=ctx.temperature)
        pull = Pull.apply if torch.is_grad_enabled() else Pull.forward
        return (None, None, None, *pull(options, wanted, cotangent, *inputs, *gradients))


def scaled(gradient: Tensor, cotangent: Tensor, like: Tensor, once: bool) -> Tensor:
    """The gradient for a cotangent, rounded once; the gradient is lost where the graph is used only `once`."""
    if torch.compiler.is_compiling() or hides_batch(cotangent):
        return (gradient * cotangent).to(like.dtype)
    if gradient.dtype == like.dtype:
        return gradient.mul_(cotangent) if once else gradient * cotangent
    return torch.mul(gradient, cotangent, out=torch.empty_like(gradient, dtype=like.dtype))


class Pull(Function):
    """The gradients for a cotangent, each rounded once to its input's dtype.

    It takes the inputs, so that a second derivative finds the way here, and gets told that there is none.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(options: Options, wanted: tuple[str, ...], cotangent: Tensor, *saved: Any) -> tuple[Tensor, ...]:
        inputs, gradients = Inputs(*saved[: len(Inputs._fields)]), saved[len(Inputs._fields) :]
        if options.reduction == "none":
            gradients = compute(options, inputs, wanted, cotangent, gradients)[1 + measured(options) :]
        else:
            gradients = tuple(g * cotangent for g in gradients)
        return tuple(g.to(getattr(inputs, name).dtype) for name, g in zip(wanted, gradients, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise NotImplementedError(
            "infonce losses have no second derivative in PyTorch: the gradient is computed in the forward pass. "
            "Leave out create_graph=True and nested torch.func.grad, or use JAX or TensorFlow."
        )


def answer(options: Options, outputs: tuple[Tensor, ...]) -> Any:
    """The loss, with what is measured where that is asked for."""
    return (outputs[0], outputs[1 : 1 + measured(options)]) if options.measure else outputs[0]


def attached(options: Options, inputs: Inputs) -> Any:
    """The loss, whose gradient is computed along with it where one is wanted."""
    wanted: tuple[str, ...] = ()
    # Inside grad(vmap(f)) requires_grad reads False although a gradient is wanted.
    hidden = torch._C._are_functorch_transforms_active()
    if torch.is_grad_enabled():
        wanted = tuple(
            name
            for name, x in zip(DIFFERENTIABLE, inputs, strict=False)
            if isinstance(x, Tensor) and (hidden or x.requires_grad)
        )
    compiling = torch.compiler.is_compiling()
    if compiling and is_small(options, inputs):
        from . import _graph  # here, because it imports the compiler

        arrays = inputs.query, inputs.positive_key, as_tensor(inputs.temperature)
        return _graph.loss(options.reduction, options.normalize, wanted, *arrays)
    if not wanted:
        return answer(options, compute(options, inputs, ()))
    if hidden or compiling:
        return answer(options, Loss.apply(options, wanted, *inputs))  # type: ignore[no-untyped-call]
    found = EagerLoss.apply(options, wanted, inputs, *(getattr(inputs, n) for n in wanted))  # type: ignore[no-untyped-call]
    return answer(options, found) if options.measure else found
