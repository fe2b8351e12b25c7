"""Threads of which one is there from the start."""

from concurrent.futures import ThreadPoolExecutor


class StandingThreads(ThreadPoolExecutor):
    """An executor that takes work also where the system gives no more threads: those that there
    are do all of it, and one is started at once.

    Args:
        max_workers: how many there are at the most; None for as many as an event loop's own.
        name: what theirs begin with.

    Raises:
        RuntimeError: not even one can be started.
    """

    def __init__(self, max_workers: int | None = None, name: str = "asyncio") -> None:
        super().__init__(max_workers, thread_name_prefix=name)
        self.submit(int)

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
