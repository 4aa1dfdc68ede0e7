"""The MLP in PyTorch."""

from __future__ import annotations

import torch

from encoders import MOMENTUM, FloatArray
from infonce.torch import info_nce


class MLP:
    def __init__(self, weights: list[FloatArray], learning_rate: float, temperature: float) -> None:
        self.weights = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
        self.optimizer = torch.optim.SGD(self.weights, lr=learning_rate, momentum=MOMENTUM)
        self.temperature = temperature

    def features(self, x: torch.Tensor) -> torch.Tensor:
        w1, b1, w2, b2, *_ = self.weights
        return torch.tanh(torch.tanh(x @ w1 + b1) @ w2 + b2)

    def project(self, view: FloatArray) -> torch.Tensor:
        return self.features(torch.from_numpy(view)) @ self.weights[4] + self.weights[5]

    def step(self, view_a: FloatArray, view_b: FloatArray) -> float:
        loss = info_nce(self.project(view_a), self.project(view_b), temperature=self.temperature, symmetric=True)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def encode(self, images: FloatArray) -> FloatArray:
        return self.features(torch.from_numpy(images)).numpy()
