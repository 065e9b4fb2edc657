"""Probabilities for the images of a test store, by one fold's model."""

import numpy as np
import torch
from torch import Tensor

from pipeline.loop.batches import Batches
from pipeline.loop.device import set_cudnn_benchmark
from pipeline.loop.engine import Mode, run_model
from pipeline.loop.epoch_meter import EpochMeter, Outcome
from pipeline.loop.objective import objective_for
from pipeline.models.checkpoint import ModelCard, on_device
from pipeline.models.networks import Normalised, OnFeatures, compile_forward, compute_for, predictor

ROWS = 65_536  # of features that are mapped from disk, at once


def predict_features(model: OnFeatures, card: ModelCard, features: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Probabilities (N, C) float32 for every row of `features` (N, width) float32; unseen: as of `predict_store`."""
    objective = objective_for(card.target_kind, loss=card.loss)
    with torch.no_grad():
        parts = [
            objective.probs(model(torch.from_numpy(features[at : at + ROWS]))) for at in range(0, len(features), ROWS)
        ]
    probs = torch.cat(parts).numpy()
    probs[unseen] = card.prior
    return probs


def predict_store(
    model: Normalised,
    card: ModelCard,
    store: Tensor,
    unseen: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
    precision: str,
    compiled: bool = False,
) -> tuple[np.ndarray, Outcome]:
    """(probabilities (N, C) float32, what the pass gave) for every row of `store` (N, S, S, 3) uint8, in order.

    model, card: as `read_checkpoint` gives them. unseen: (N,) bool, there is no image: the training images' shares of
    the classes are the answer.
    """
    compute = compute_for(card.architecture, card.image_size, device=device, precision=precision, compiled=compiled)
    set_cudnn_benchmark(device, constant_shapes=False)  # one pass seldom earns a search
    network = on_device(model, device)
    if compiled:
        compile_forward(network, device=device)
    objective = objective_for(card.target_kind, loss=card.loss)
    batches = Batches(store, np.arange(len(store)), None, batch_size=batch_size, device=device)
    meter = EpochMeter(f"fold {card.fold} test")
    outcome = run_model(
        predictor(network, objective, card.tta),
        batches,
        Mode.TEST,
        device=device,
        dtype=compute.dtype,
        objective=objective,
        meter=meter,
    )
    assert outcome.probs is not None
    outcome.probs[unseen] = card.prior
    return outcome.probs, outcome
