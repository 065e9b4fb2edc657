"""The setting of glibc's allocator that a process has to be started with."""

import contextlib
import os
import platform
import sys

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.tcache_count"
STAGES = ("pipeline.stages.train", "pipeline.stages.infer")  # those with a model


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


def restart_stage() -> None:
    """If this is `python -m` a stage with a model, begin it again, in the same process, with the setting."""
    words = sys.orig_argv
    if "-m" in words and words[words.index("-m") + 1] in STAGES and set_environment():
        with contextlib.suppress(OSError):  # it goes without
            os.execv(sys.executable, [sys.executable, *words[1:]])  # noqa: S606  (the words this process began with)
