"""Learn to read digits from ten labels per class: SimCLR on scikit-learn's 8 x 8 images, in any framework.

    python examples/digits.py --framework torch

A small MLP encoder is trained without labels: two random views of an image should lie close together, and far from the
views of all other images (`infonce.info_nce`). A linear classifier on the encoder's features is then compared with one
on the raw pixels. Data, views, batches and initial weights come from NumPy, so every framework sees the same numbers.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import time

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from encoders import Encoder, FloatArray

WIDTHS = (64, 256, 128, 64)  # pixels, hidden, features (what the probe sees), projection (what the loss sees)
BATCH = 256
LABELS_PER_CLASS = 10
LABEL_DRAWS = 20


def initial_weights(rng: np.random.Generator) -> list[FloatArray]:
    """Return matrix, bias, matrix, bias, ... with outputs of unit variance."""
    weights: list[FloatArray] = []
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        weights.append(rng.normal(0, fan_in**-0.5, (fan_in, fan_out)).astype(np.float32))
        weights.append(np.zeros(fan_out, dtype=np.float32))
    return weights


def random_view(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate, scale, shear and shift each (8, 8) image a little, add noise, and flatten: (N, 64)."""
    n = len(images)
    angle, log_scale, shear = rng.uniform([[-0.25], [-0.15], [-0.2]], [[0.25], [0.15], [0.2]], (3, n))
    cos, sin = np.cos(angle) * np.exp(log_scale), np.sin(angle) * np.exp(log_scale)
    matrix = np.array([[cos, -sin], [sin + shear, cos]]).transpose(2, 0, 1)
    centred = np.indices((8, 8)).reshape(2, 64) - 3.5
    places = matrix @ centred + 3.5 + rng.uniform(-0.8, 0.8, (n, 2, 1))
    which = np.broadcast_to(np.arange(n)[:, None], (n, 64))
    view = map_coordinates(images, [which, places[:, 0], places[:, 1]], order=1)
    return (view + rng.normal(0, 0.05, view.shape)).astype(np.float32)


def probe(train: FloatArray, train_labels: np.ndarray, test: FloatArray, test_labels: np.ndarray) -> float:
    """Return a linear classifier's test accuracy from ten labels per class, averaged over draws of the labels."""
    accuracies = []
    for draw in range(LABEL_DRAWS):
        rng = np.random.default_rng(draw)
        shuffled = rng.permutation(len(train))
        rows = np.concatenate([shuffled[train_labels[shuffled] == c][:LABELS_PER_CLASS] for c in range(10)])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        classifier.fit(train[rows], train_labels[rows])
        accuracies.append(classifier.score(test, test_labels))
    return float(np.mean(accuracies))


def train_encoder(encoder: Encoder, images: FloatArray, epochs: int, rng: np.random.Generator) -> float:
    """Train `encoder` on two fresh views of every batch; return the last loss."""
    loss = float("nan")
    for _ in track(range(epochs), description="training", console=Console(stderr=True)):
        order = rng.permutation(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            batch = images[order[start : start + BATCH]]
            loss = encoder.step(random_view(batch, rng), random_view(batch, rng))
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=["numpy", "torch", "jax", "tensorflow"], default="numpy")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    train, test, train_labels, test_labels = train_test_split(
        images, digits.target, test_size=0.3, stratify=digits.target, random_state=0
    )
    train_pixels, test_pixels = train.reshape(-1, 64), test.reshape(-1, 64)

    rng = np.random.default_rng(options.seed)
    encoder: Encoder = importlib.import_module(f"encoders.{options.framework}").MLP(
        initial_weights(rng), options.learning_rate, options.temperature
    )
    start = time.perf_counter()
    loss = train_encoder(encoder, train, options.epochs, rng)
    seconds = time.perf_counter() - start

    raw = probe(train_pixels, train_labels, test_pixels, test_labels)
    learned = probe(encoder.encode(train_pixels), train_labels, encoder.encode(test_pixels), test_labels)
    print(f"{options.framework}: {options.epochs} epochs in {seconds:.1f} s, last loss {loss:.4f} nats")
    print(f"linear probe, {LABELS_PER_CLASS} labels per class, mean of {LABEL_DRAWS} draws of the labels")
    print(f"  raw pixels      {raw:.4f}")
    print(f"  learned encoder {learned:.4f}")


if __name__ == "__main__":
    main()
