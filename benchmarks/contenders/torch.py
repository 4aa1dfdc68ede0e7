"""PyTorch: infonce, the products alone, info-nce-pytorch, pytorch-metric-learning and the plain formula."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from info_nce import info_nce as peer
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, relu

import infonce
from _cases import TEMPERATURE, Case
from _measure import Call

from ._limits import METRIC_LEARNING_ROWS, dense_fits, rows_of_products

MODES = ("torch", "torch:compile")
KINDS = ("one", "value", "none", "low", "symmetric", "queue", "step", "nt_xent")
COMPILED_KINDS = ("one", "step")
Loss = Callable[..., Tensor]


def calls(case: Case, mode: str) -> dict[str, Call]:
    can_compile = shutil.which("c++") is not None
    plain = losses_of_others(case) if dense_fits(case) else {}
    losses = {"infonce": ours(case), **plain}
    torch._dynamo.reset()
    if mode == "torch:compile":
        if not can_compile or case.kind not in COMPILED_KINDS:
            return {}
        losses = {name: compiled(losses[name]) for name in ("infonce", "plain formula") if name in losses}
        losses["infonce, eager"] = ours(case)
    elif can_compile and plain:
        losses["plain formula, compiled"] = compiled(plain["plain formula"])
    found = timed(case, losses)
    if case.kind == "step":
        return found
    return found | {
        name: products(case, block, *tensors(case.sides())) for name, block in rows_of_products(case).items()
    }


def timed(case: Case, losses: Mapping[str, Loss], constants: Iterable[Any] = ()) -> dict[str, Call]:
    inputs = [*tensors(case.inputs()), *map(torch.from_numpy, constants)]
    return {name: value_and_gradient(case, loss, inputs) for name, loss in losses.items()}


def tensors(arrays: Iterable[Any], device: str = "cpu", dtype: str = "float32") -> list[Tensor]:
    return [torch.from_numpy(x).to(device, getattr(torch, dtype)) for x in arrays]


def compiled(loss: Loss) -> Loss:
    return torch.compile(loss, fullgraph=True)


def value_and_gradient(case: Case, loss: Loss, inputs: list[Tensor]) -> Call:
    leaves = [x.clone().requires_grad_(i < case.wanted) for i, x in enumerate(inputs)]
    wanted = leaves[: case.wanted]
    weights: list[Tensor] = []
    if case.kind == "step":
        wanted = weights = [torch.eye(case.d).requires_grad_(), torch.eye(case.d).requires_grad_()]
        leaves = [x.detach() for x in leaves]
    cotangent = torch.from_numpy(case.cotangent()).to(inputs[0].device) if case.kind == "none" else None

    def call() -> tuple[Tensor, ...]:
        value = loss(*leaves, *weights)
        gradients = torch.autograd.grad(value, wanted, cotangent) if wanted else ()
        if value.is_cuda:
            torch.cuda.synchronize()
        return value.detach(), *gradients

    return call


def encoded(loss: Loss) -> Loss:
    """A training step's loss: of what a small network makes of its inputs."""

    def step(query: Tensor, key: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return loss(*(relu(x @ first) @ second for x in (query, key)))

    return step


def ours(case: Case, block_size: int | None = None) -> Loss:
    options: dict[str, Any] = {"temperature": case.temperature, "block_size": block_size}
    if case.kind == "nt_xent":
        return functools.partial(infonce.nt_xent, **options)
    if case.kind == "none":
        options["reduction"] = "none"
    if case.kind == "symmetric":
        options["symmetric"] = True
    loss = functools.partial(infonce.info_nce, **options)
    return encoded(loss) if case.kind == "step" else loss


def losses_of_others(case: Case) -> dict[str, Loss]:
    match case.kind:
        case "nt_xent":
            metric_learning = {"pytorch-metric-learning": metric_learning_nt_xent()}
            return {"plain formula": plain_nt_xent} | (metric_learning if case.n <= METRIC_LEARNING_ROWS else {})
        case "symmetric":
            return {
                "plain formula": plain_symmetric,
                "info-nce-pytorch, both ways": lambda q, k: (peer(q, k) + peer(k, q)) / 2,
                "open_clip's formula": open_clip_formula,
            }
        case "queue":
            return {"plain formula": plain_queue, "info-nce-pytorch": peer}
        case "none":
            return {
                "plain formula": functools.partial(plain, reduction="none"),
                "info-nce-pytorch": functools.partial(peer, reduction="none"),
            }
        case "low":
            of_case = {"temperature": case.temperature}
            return {
                "plain formula": functools.partial(plain, **of_case),
                "info-nce-pytorch": functools.partial(peer, **of_case),
            }
        case "step":
            return {"plain formula": encoded(plain), "info-nce-pytorch": encoded(peer)}
        case _:
            return {
                "plain formula": plain,
                "info-nce-pytorch": peer,
                "sentence-transformers' formula": sentence_transformers_formula,
            }


def rows_of(x: Tensor) -> Tensor:
    return torch.arange(len(x), device=x.device)


def plain(query: Tensor, key: Tensor, reduction: str = "mean", temperature: float = TEMPERATURE) -> Tensor:
    logits = (normalize(query) / temperature) @ normalize(key).T
    return cross_entropy(logits, rows_of(query), reduction=reduction)


def sentence_transformers_formula(query: Tensor, key: Tensor) -> Tensor:
    """MultipleNegativesRankingLoss: cosines times a scale, whose customary 20 is a temperature of 0.05."""
    scores = torch.mm(normalize(query), normalize(key).transpose(0, 1)) * (1 / TEMPERATURE)
    return cross_entropy(scores, rows_of(query))


def plain_symmetric(query: Tensor, key: Tensor) -> Tensor:
    logits, rows = (normalize(query) / TEMPERATURE) @ normalize(key).T, rows_of(query)
    return (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2


def open_clip_formula(query: Tensor, key: Tensor) -> Tensor:
    """ClipLoss on one device: two logit matrices."""
    query, key, rows = normalize(query), normalize(key), rows_of(query)
    scale = 1 / TEMPERATURE
    return (cross_entropy(scale * query @ key.T, rows) + cross_entropy(scale * key @ query.T, rows)) / 2


def plain_queue(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    query, key, queue = normalize(query) / TEMPERATURE, normalize(key), normalize(queue)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], dim=1)
    return cross_entropy(logits, torch.zeros_like(rows_of(query)))


def plain_nt_xent(first: Tensor, second: Tensor) -> Tensor:
    z = normalize(torch.cat([first, second]))
    logits = (z / TEMPERATURE) @ z.T
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return cross_entropy(logits, rows_of(z).roll(len(first)))


def metric_learning_nt_xent() -> Loss:
    loss = NTXentLoss(temperature=TEMPERATURE)

    def compute(first: Tensor, second: Tensor) -> Tensor:
        value: Tensor = loss(torch.cat([first, second]), rows_of(first).repeat(2))
        return value

    return compute


def products(case: Case, block: int, left: Tensor, right: Tensor) -> Call:
    """The least that is to be multiplied, into buffers that are there: at once, or by blocks of rows.

    On a CPU blocks lie column by column in memory, the faster way.
    """
    logits = left.new_empty(block, case.columns) if left.is_cuda else left.new_empty(case.columns, block).T
    d_left, d_right = torch.empty_like(left), torch.empty_like(right)

    def call() -> tuple[Tensor, ...]:
        for first in range(0, case.rows, block):
            rows = left[first : first + block]
            part = torch.mm(right, rows.T, out=logits[: len(rows)].T).T
            if case.products > 1:
                torch.mm(part, right, out=d_left[first : first + block])
            if case.products > 2:
                torch.addmm(d_right, part.T, rows, beta=min(first, 1), out=d_right)
        if left.is_cuda:
            torch.cuda.synchronize()
        return d_left, d_right

    return call
