"""Where to compute, and in what precision."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how a network computes."""

    device: torch.device
    dtype: torch.dtype | None = None  # to autocast to; None: float32
    compiled: bool = False  # by torch.compile


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

    `fp32` and `tf32` (see `set_tf32`) are float32. `auto` is what the hardware multiplies fastest: on CUDA see
    `cuda_dtype`; bfloat16 on CPUs with AVX512_BF16 or AMX (1.9 to 2.2 times float32 there; emulated elsewhere it is
    slower than float32), if `bf16_sound` (see `models.bf16_sound_on_cpu`). float16 trains with a LossScaler. On CPUs
    it is there for tests: a step of ResNet9 took 45 times as long as in float32 (32 images of 32 px, one thread).
    """
    if precision in ("fp32", "tf32"):
        return None
    if precision in ("bf16", "fp16"):
        return torch.bfloat16 if precision == "bf16" else torch.float16
    if device.type == "cuda":
        return cuda_dtype(torch.cuda.get_device_capability(device))
    return torch.bfloat16 if device.type == "cpu" and bf16_sound and _cpu_multiplies_bf16() else None


def cuda_dtype(capability: tuple[int, int]) -> torch.dtype | None:
    """What `auto` computes in on a GPU of this compute capability; None is float32.

    bfloat16 from 8.0 on. float16 where it is multiplied faster than float32 and bfloat16 is emulated: by the tensor
    cores of 7.x (V100, T4), and on 6.0 (P100) at twice the rate. 16-bit against 32-bit results a clock of a
    multiprocessor, by the table of arithmetic throughput in NVIDIA's CUDA C++ Programming Guide: 128 and 64 on 6.0 and
    7.x, 2 and 128 on 6.1 (GTX 10, P4, P40), none before 5.3.
    """
    if capability >= (8, 0):
        return torch.bfloat16
    return torch.float16 if capability == (6, 0) or capability >= (7, 0) else None


def _cpu_multiplies_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, hence the getattr
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)


def free_memory(name: str) -> list[int]:
    """Free bytes on each accelerator that `auto` or `cuda` can spread over, or on the one that another name says.

    Empty for the CPU; 0 where it is not known, as on MPS, which shares its memory with everything else. It begins CUDA.
    """
    if name in ("auto", "cuda") and torch.cuda.device_count():
        return [_free_memory(f"cuda:{number}") for number in range(torch.cuda.device_count())]
    if name.startswith("cuda:"):
        return [_free_memory(name)]
    if name == "auto":
        return [0] if torch.backends.mps.is_available() else []
    return [] if name == "cpu" else [0]


def _free_memory(name: str) -> int:
    try:
        return torch.cuda.mem_get_info(torch.device(name))[0]
    except (RuntimeError, AssertionError):  # the stage that cannot use it says why
        return 0


def set_tf32(precision: str, device: torch.device) -> None:
    """Whether CUDA may multiply float32 as TF32 (10 bits of mantissa instead of 23): unless precision is `fp32`.

    It has an effect on compute capability 8.0 and up. On a CPU nothing is set: the same switch would make oneDNN
    round float32 there.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def set_cudnn_benchmark(device: torch.device, *, constant_shapes: bool) -> None:
    """Whether cuDNN tries its algorithms at the first batch of each shape, and keeps the fastest.

    Every shape costs a search, and which algorithm wins may change from run to run, and with it the rounding: results
    on CUDA are equal to the bit in no case (see docs/interrupted.md). On other devices nothing is set.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = constant_shapes


def memory_format(device: torch.device) -> torch.memory_format:
    """The order of weights and images that convolutions are fastest in.

    channels_last is 1.1 to 1.5 times as fast on CPUs, and what tensor cores compute in. On MPS it took 30 times as long
    in the backward pass until August 2026, and gave wrong numbers in places (pytorch issues 193349, 174345, 107214).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def to_device(values: torch.Tensor | np.ndarray, device: torch.device) -> torch.Tensor:
    """A tensor, or an array as one, on `device`, without a wait on CUDA.

    From pageable memory CUDA would first wait for all work given to it; from pinned memory it copies in its turn, and
    torch keeps the pinned block until then. Elsewhere the copy is done on return (on MPS one that is not may read
    memory that is no longer the tensor's).
    """
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
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
