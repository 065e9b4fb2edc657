"""Progressive resizing."""

import pytest
import torch

from pipeline.training.progressive import Resized, epoch_side


@pytest.mark.parametrize(
    ("epochs", "start", "full", "sides"),
    [
        (9, 20, 32, [20, 20, 24, 24, 28, 28, 32, 32, 32]),
        (6, 24, 64, [24, 32, 44, 52, 64, 64]),
        (1, 16, 32, [32]),
        (4, 0, 32, [32] * 4),
        (4, 32, 32, [32] * 4),
        (4, 40, 32, [32] * 4),
        (3, 30, 31, [30, 30, 31]),
    ],
)
def test_sides_grow_to_the_images_own(epochs, start, full, sides):
    assert [epoch_side(epoch, epochs, start=start, full=full) for epoch in range(1, epochs + 1)] == sides


class Two:
    num_images = 5

    def __iter__(self):
        for count in (3, 2):
            images = torch.arange(count * 3 * 8 * 8).reshape(count, 3, 8, 8) % 251
            yield images.to(torch.uint8).contiguous(memory_format=torch.channels_last), torch.arange(count)


def test_batches_are_scaled_and_targets_are_as_they_were():
    small = Resized(Two(), 4)
    assert small.num_images == 5
    for (images, targets), (before, same) in zip(small, Two(), strict=True):
        assert images.shape == (len(targets), 3, 4, 4)
        assert images.dtype == torch.float32
        assert torch.equal(targets, same)
        assert torch.allclose(images.mean((2, 3)), before.float().mean((2, 3)), atol=16)
        assert images.is_contiguous(memory_format=torch.channels_last)
