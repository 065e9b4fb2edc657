"""Where to compute, and in what precision."""

import torch


def device_named(name: str) -> torch.device:
    """`auto` is CUDA, else MPS, else the CPU; any other name is taken at its word, and checked.

    The device comes with its number (`cuda:0`), as tensors on it have it: `cuda` alone equals no tensor's device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(1, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"compute.device is {name!r}, which cannot be used here ({reason}); use auto") from error


def autocast_dtype(precision: str, device: torch.device, *, bf16_sound: bool = True) -> torch.dtype | None:
    """The dtype to autocast to, None for plain float32.

    `fp32` and `tf32` (see `set_tf32`) are float32. `auto` is bfloat16 where the hardware multiplies it natively: CUDA
    from compute capability 8.0, CPUs with AVX512_BF16 or AMX (1.9 to 2.2 times float32 there; emulated elsewhere it is
    slower than float32), if `bf16_sound` (see `models.bf16_sound_on_cpu`).
    """
    if precision in ("fp32", "tf32"):
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else None
    return torch.bfloat16 if device.type == "cpu" and bf16_sound and _cpu_multiplies_bf16() else None


def _cpu_multiplies_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, hence the getattr
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)


def num_accelerators(name: str) -> int:
    """How many CUDA devices `auto` or `cuda` can spread over, 1 for any other device, 0 for the CPU."""
    if name in ("auto", "cuda") and torch.cuda.device_count():
        return torch.cuda.device_count()
    return int(torch.backends.mps.is_available()) if name == "auto" else int(name != "cpu")


def set_tf32(precision: str, device: torch.device) -> None:
    """Whether CUDA may multiply float32 as TF32 (10 bits of mantissa instead of 23): unless precision is `fp32`.

    It has an effect on compute capability 8.0 and up. On a CPU nothing is set: the same switch would make oneDNN
    round float32 there.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` on `device`, without a wait on CUDA.

    From pageable memory CUDA would first wait for all work given to it; from pinned memory it copies in its turn, and
    torch keeps the pinned block until then. Elsewhere the copy is done on return (on MPS one that is not may read
    memory that is no longer the tensor's).
    """
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor.pin_memory() if tensor.device.type == "cpu" else tensor).to(device, non_blocking=True)


def limit_threads(num_threads: int) -> None:
    """Compute on at most `num_threads` threads; OMP_NUM_THREADS may have asked for fewer."""
    torch.set_num_threads(min(num_threads, torch.get_num_threads()))


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Where torch's global generators are, that of the CPU and of `device`; uint8 on the CPU."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go on from where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(state["mps"])
