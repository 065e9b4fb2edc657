"""What training takes of memory, and where a batch does not fit: the size that does, or micro-batches."""

import contextlib
import gc
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.base import console

Result = TypeVar("Result")
# what the CPU's allocator, MPS, and cuDNN and cuBLAS say in a plain RuntimeError
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")


class OutOfMemoryError(ValueError):
    """A batch did not fit; the message says what does."""


class MicroBatches:
    """Into how many micro-batches a batch is cut; once a batch did not fit, all that follow are cut alike.

    Without `may_cut` a batch that does not fit stops the pass.
    """

    def __init__(self, *, may_cut: bool, number: int = 1) -> None:
        self.may_cut = may_cut
        self.number = number

    def compute(
        self, attempt: Callable[[int], Result], *, num_images: int, smallest: int, undo: Callable[[], None], title: str
    ) -> Result:
        """attempt(number) for a batch of `num_images`, with more micro-batches each time it does not fit.

        smallest: images that each must have; undo: takes back what a failed attempt left. Raises OutOfMemoryError.
        """
        most = max(1, num_images // smallest)
        number = min(self.number, most)
        while (result := _attempted(attempt, number)) is None:
            undo()
            if number == most:
                raise OutOfMemoryError(f"{title}: out of memory; not even {_at_once(num_images, number)} fit")
            number = min(2 * number, most)
        if number > self.number:
            fits = math.ceil(num_images / number)
            if not self.may_cut:
                raise OutOfMemoryError(
                    f"{title}: out of memory with a batch of {num_images} images; {fits} fit (tried). Set "
                    f"train.batch_size to {fits}, or train.fit_memory to true to compute each batch in micro-batches"
                )
            console.say(
                f"{title}: out of memory with {num_images} images at once; from here on {number} micro-batches a batch"
            )
            self.number = number
        return result


def step_bytes(model: nn.Module, *, batch_size: int, size: int) -> int:
    """About what training keeps in memory: a batch's activations, weights, gradients and two moments, all float32.

    model: takes (B, 3, size, size) float32; it is moved to the meta device, where tensors have shapes alone.
    """
    model = model.to("meta")
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # once, whoever else keeps it
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.empty(batch_size, 3, size, size, device="meta"))
    weights = list(model.parameters())
    for weight in weights:
        kept.pop(weight.untyped_storage()._cdata, None)
    return sum(map(_bytes_of, kept.values())) + 4 * sum(map(_bytes_of, weights))


def _bytes_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


@contextlib.contextmanager
def out_of_memory_said(title: str) -> Iterator[None]:
    """What runs out of memory outside a batch's forward and backward pass raises OutOfMemoryError as well."""
    try:
        yield
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{title}: out of memory ({str(error).splitlines()[0]}); lower train.batch_size, or let fewer folds share "
            "the device: `python -m pipeline folds --jobs 1`"
        ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def _attempted(attempt: Callable[[int], Result], number: int) -> Result | None:
    """None where memory ran out, and what the failed attempt held is free again."""
    try:
        return attempt(number)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    return None


def _at_once(num_images: int, number: int) -> str:
    fits = math.ceil(num_images / number)
    return "1 image" if fits == 1 else f"{fits} images at once"


def has_batch_norm(model: nn.Module) -> bool:
    """Whether an image's logits in training depend on the images beside it."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
