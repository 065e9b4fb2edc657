"""From the store to batches."""

import threading

import numpy as np
import pytest
import torch

from pipeline.loop.batches import Batches, channel_statistics, epoch_order, store_tensor
from pipeline.loop.prefetch import prefetched
from pipeline.training.augment import Augmentation

CPU = torch.device("cpu")


@pytest.fixture
def store():
    return torch.randint(0, 256, (1300, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("count", "size"), [(1, 4), (5, 4), (129, 128), (1300, 64), (1300, 2000), (1000, 7)])
def test_all_rows_in_order_in_even_batches(store, count, size):
    rows = np.random.default_rng(0).permutation(1300)[:count]
    targets = rows % 7
    parts = list(Batches(store, rows, targets, batch_size=size, device=CPU))
    sizes = [len(images) for images, _ in parts]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1, "a batch norm must not see a lonely image"
    assert torch.equal(torch.cat([images for images, _ in parts]), store[rows].permute(0, 3, 1, 2))
    assert torch.cat([labels for _, labels in parts]).tolist() == targets.tolist()


def test_images_come_in_channels_last_order_without_a_copy(store):
    images = next(iter(Batches(store, np.arange(40), None, batch_size=40, device=CPU)))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == torch.uint8


def test_transforms_get_many_images_at_once_and_numbered(store):
    calls = []

    def transform(images, chunk, sizes, first):
        calls.append((chunk, len(images)))
        return 255 - images

    parts = list(Batches(store, np.arange(1300), None, batch_size=100, device=CPU, transform=transform))
    assert calls == [(0, 600), (1, 600), (2, 100)]
    assert torch.equal(torch.cat(parts), (255 - store).permute(0, 3, 1, 2))


def test_the_epochs_order_depends_on_its_arguments_alone():
    order = epoch_order(50, seed=1, fold=2, epoch=3)
    assert sorted(order.tolist()) == list(range(50))
    assert (order == epoch_order(50, seed=1, fold=2, epoch=3)).all()
    others = [
        {"seed": 0, "fold": 2, "epoch": 3},
        {"seed": 1, "fold": 0, "epoch": 3},
        {"seed": 1, "fold": 2, "epoch": 4},
    ]
    assert all((order != epoch_order(50, **other)).any() for other in others)


def test_channel_statistics_are_those_of_the_rows_named(store):
    rows = np.arange(0, 1300, 3)
    mean, std = channel_statistics(store.numpy(), rows)
    pixels = store.numpy()[rows].reshape(-1, 3) / 255
    assert mean == pytest.approx(pixels.mean(axis=0), abs=1e-9)
    assert std == pytest.approx(pixels.std(axis=0), abs=1e-9)


def test_a_flat_channel_is_not_divided_by_zero():
    flat = np.full((4, 8, 8, 3), 9, dtype=np.uint8)
    assert channel_statistics(flat, np.arange(4))[1] == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("skip", [0, 7])
@pytest.mark.parametrize("labelled", [True, False])
def test_prefetched_batches_are_the_same_in_the_same_order(store, labelled, skip):
    rows = np.random.default_rng(0).permutation(1300)
    transform = Augmentation(crop_padding=1, flip=True, policy="trivialaugment")
    options = {"batch_size": 100, "device": CPU, "transform": transform, "skip": skip}
    targets = rows % 7 if labelled else None
    plain, ahead = (list(Batches(store, rows, targets, prefetch=prefetch, **options)) for prefetch in (False, True))
    assert len(plain) == len(ahead) == 13 - skip
    for one, other in zip(plain, ahead, strict=True):
        pairs = zip(one, other, strict=True) if labelled else [(one, other)]
        assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("policy", ["none", "autoaugment", "trivialaugment"])
@pytest.mark.parametrize(("skip", "at_once"), [(0, 2), (7, 2), (12, 3), (0, 5)])
def test_chunks_transformed_at_once_have_the_draws_and_bytes_they_have_alone(store, policy, skip, at_once):
    """As on CUDA."""
    transform = Augmentation(
        crop_scale=0.4, crop_padding=2, crop_fill="zeros", flip=True, cutout=3, policy=policy, key=(1, 2, 3)
    )
    options = {"batch_size": 100, "device": CPU, "transform": transform, "skip": skip}
    alone, together = (
        Batches(store, np.arange(1300), None, prefetch=prefetch, **options) for prefetch in (False, True)
    )
    together.chunks_at_once = at_once
    pairs = list(zip(alone, together, strict=True))
    assert len(pairs) == 13 - skip
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_transform_may_run_in_the_thread_before_images_are_sent(store):
    """As for MPS."""
    names = []

    def transform(images, chunk, sizes, first):
        names.append(threading.current_thread().name)
        return images + chunk

    options = {"batch_size": 100, "device": CPU, "transform": transform}
    plain, early = (Batches(store, np.arange(1300), None, prefetch=prefetch, **options) for prefetch in (False, True))
    early.transform_first = True
    pairs = list(zip(plain, early, strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [name.startswith("prefetch") for name in names].count(True) == 3


def test_a_store_that_another_fold_left_no_room_for_stays_where_it_is(store, monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 40, 1 << 40))
    monkeypatch.setattr(torch.Tensor, "to", refuse)
    assert store_tensor(store.numpy(), torch.device("cuda", 0)).device == CPU


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetching_stays_a_bounded_number_ahead_and_a_closed_generator_leaves_no_thread():
    made = []
    results = prefetched(made.append, range(100), ahead=2)
    for taken in range(1, 6):
        next(results)
        assert taken <= len(made) <= taken + 2
    assert prefetch_threads()
    results.close()
    assert len(made) <= 7
    assert prefetch_threads() == []


def test_batches_dropped_half_way_leave_no_thread(store):
    batches = iter(Batches(store, np.arange(1300), None, batch_size=100, device=CPU, prefetch=True))
    next(batches)
    assert prefetch_threads()
    batches.close()
    assert prefetch_threads() == []


def test_what_fails_in_the_thread_fails_in_the_caller_in_its_turn():
    def make(number):
        if number == 3:
            raise OSError("the disk is gone")
        return number

    results = prefetched(make, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)
    assert prefetch_threads() == []
