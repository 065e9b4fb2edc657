"""glibc's allocator: what a stage tells it, and the setting that a process has to be started with."""

import contextlib
import ctypes
import os
import platform
import sys

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.tcache_count"
# mallopt(3) option numbers, from glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_MXFAST = -1, -2, -3, -4, 1
TRIM_BYTES = 2**31 - 1  # mallopt takes an int
LARGE_BYTES = 1 << 20
MADV_HUGEPAGE = 14  # madvise(2), from Linux's mman-common.h
HUGE_PAGE_BYTES = 2 << 20  # of x86-64, and of arm64 with pages of 4 KiB
HEAP_BYTES = 1 << 30  # in huge pages; addresses only, memory is taken as it is used


def set_environment() -> bool:
    """Processes started from here on keep no small blocks in a thread's cache; True where that is news.

    Before each aligned block, as torch's tensors are, or behind it, glibc (2.36) splits off some bytes. In the thread's
    cache these never join the freed block again; alone it is too small for the next tensor of the same size, and each
    step's activations wander through cold memory. Where somebody set the number himself, it stays.
    """
    given = os.environ.get(VARIABLE, "")
    if platform.libc_ver()[0] != "glibc" or TUNABLE in given:
        return False
    os.environ[VARIABLE] = ":".join(filter(None, (given, f"{TUNABLE}=0")))
    return True


def restart() -> None:
    """Begin this command again, in the same process, with the setting, unless it has it."""
    if set_environment():
        with contextlib.suppress(OSError):  # it goes without
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (the words this process began with)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, where it is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None


def return_freed_memory() -> None:
    """Tell glibc to give what is freed back to the system: large blocks at once, the rest now.

    By itself it stops doing so for blocks of up to 32 MB once one of them was freed, and keeps them between smaller
    ones that are in use. For stages that work in phases; elsewhere than on glibc it does nothing.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.malloc_trim(ctypes.c_size_t(0))


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks, instead of giving each step's activations back to the system.

    The run-time form of MALLOC_TRIM_THRESHOLD_, MALLOC_TOP_PAD_ and of no mmap for large blocks; and of
    glibc.malloc.hugetlb=1 for the first GiB of the heap, where the system has huge pages for who asks. Elsewhere than
    on glibc it does nothing.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        libc.mallopt(M_TOP_PAD, 64 << 20)
        libc.mallopt(M_MXFAST, 0)  # small freed blocks join their neighbours (see `set_environment`)
        _ask_for_huge_pages(libc)


def _ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    """Let the heap grow to HEAP_BYTES at once, in huge pages: a step's activations fit into few entries of the TLB."""
    libc.malloc.restype = ctypes.c_void_p
    heap = libc.malloc(ctypes.c_size_t(HEAP_BYTES))
    if heap is None:
        return
    start = -(-heap // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(heap + HEAP_BYTES - start), MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(heap))  # it stays in the heap: less than TRIM_BYTES
