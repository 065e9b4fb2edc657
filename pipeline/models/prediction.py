"""Probabilities for images without labels, by one fold's model."""

import numpy as np
import torch
from torch import Tensor

from pipeline.loop.batches import Batches
from pipeline.loop.engine import Mode, run_model
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.objective import objective_for
from pipeline.models.checkpoint import on_device
from pipeline.models.networks import MirrorAveraged, Normalised, compile_forward


def predict(
    model: Normalised,
    store: Tensor,
    *,
    target_kind: str,
    batch_size: int,
    flip_tta: bool,
    device: torch.device,
    dtype: torch.dtype | None,
    compiled: bool,
    title: str,
) -> Outcome:
    """Class indices and probabilities for every row of `store` (N, S, S, 3) uint8, in order."""
    network = on_device(model, device)
    if compiled:
        compile_forward(network, device=device)
    objective = objective_for(target_kind)
    predictor = MirrorAveraged(network, objective) if flip_tta else network
    batches = Batches(store, np.arange(len(store)), None, batch_size=batch_size, device=device)
    return run_model(predictor, batches, Mode.TEST, device=device, dtype=dtype, objective=objective, title=title)
