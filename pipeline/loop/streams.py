"""Random streams, one for each named use and key: no two uses, nor keys of different length, share one."""

import hashlib

import numpy as np
import torch


def draws(use: str, *key: int) -> np.random.Generator:
    """numpy's generator for this use and key.

    Lists of numbers would not do as seeds: numpy pads short ones with zeros, so that [s, f, e] is [s, f, e, 0].
    """
    return np.random.default_rng(_number(use, key))


def seed_torch(use: str, *key: int) -> None:
    """torch's global generator (first weights, dropout) from use and key alone."""
    torch.manual_seed(_number(use, key) >> 72)


def _number(use: str, key: tuple[int, ...]) -> int:
    """128 bits."""
    return int.from_bytes(hashlib.sha256(repr((use, *map(int, key))).encode()).digest()[:16], "big")
