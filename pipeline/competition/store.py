"""The uint8 store of one table's images, as the stages after decoding read it."""

from pathlib import Path

import numpy as np


def read_store(path: Path, *, num_images: int, size: int) -> np.ndarray:
    """The store at `path` as a memory map (N, S, S, 3) uint8; writing to it would not reach the file.

    Raises ValueError where it is not the store that the schema describes.
    """
    try:
        store = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged ({error}); run `dvc repro -f ingest`") from error
    expected = (num_images, size, size, 3)
    if store.shape != expected or store.dtype != np.uint8:
        raise ValueError(
            f"{path} holds {store.dtype} {store.shape}, the schema says uint8 {expected}; run `dvc repro -f ingest`"
        )
    return store
