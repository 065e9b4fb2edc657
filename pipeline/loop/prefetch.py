"""Make the next thing in a thread while the caller is busy with the present one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def prefetched(
    make: Callable[[Argument], Result], arguments: Iterable[Argument], *, ahead: int = 1
) -> Iterator[Result]:
    """make(argument) for each argument, in order, made by one thread.

    While the caller has a result, at most `ahead` further ones are made or wait for it. What `make` raises is raised
    here, in its turn; once the generator is exhausted or closed, no thread is left.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for argument in arguments:
                waiting.append(pool.submit(make, argument))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
