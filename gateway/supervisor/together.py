"""A reload of all workers: everybody prepares, then everybody switches, or nobody does.

The supervisor reads the settings, once, and decides. Its decision to switch is what counts:
it is made when every worker has prepared, and from then on a worker that dies or does not
follow is replaced by one that starts with what was decided.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from gateway.generations.receipts import Receipt
from gateway.generations.swap import PREPARE_S, Refused
from gateway.ignored_variables import Ignored
from gateway.reload import planned
from gateway.settings import Settings
from gateway.supervisor.channel import AskFailed, ChannelClosed
from gateway.supervisor.crew import Crew
from gateway.supervisor.process import WorkerProcess
from gateway.supervisor.start import share_of

COMMIT_S: Final = 5.0
ABORT_S: Final = 10.0
_BEYOND_S: Final = 5.0  # for the way there and back, on a busy machine

_log = structlog.get_logger("reload")


class Together:
    """Carries reloads out on every worker.

    Args:
        load: reads the settings anew; raises SettingsError.
        on_commit: told what has been decided, before any worker is.
        on_drained: told when a receipt has become complete.

    Attributes:
        settings: the committed ones, for the whole gateway.
        generation: the number of the generation that serves them.
    """

    def __init__(
        self,
        settings: Settings,
        crew: Crew,
        *,
        load: Callable[[], Settings],
        on_commit: Callable[[Settings], None],
        on_drained: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.generation = 1
        self._crew = crew
        self._load = load
        self._ignored = Ignored(settings)
        self._on_commit = on_commit
        self._on_drained = on_drained
        self._drains: set[asyncio.Task[None]] = set()

    @property
    def serving(self) -> tuple[int, str]:
        """See Attempt."""
        return self.generation, str(self.settings.variables.runner_backend)

    async def run(self, receipt: Receipt) -> None:
        """See Attempt."""
        loaded = await asyncio.to_thread(self._load)
        self._ignored.loaded(loaded)
        new = planned(receipt, self.settings, loaded)
        if new is None:
            return
        # Nobody comes meanwhile: whoever started now would not have prepared.
        async with self._crew.change:
            workers = list(self._crew.serving.values())
            try:
                await self._prepare(workers, new, warmed=not receipt.plan)
            except BaseException:
                await self._abort(workers)
                raise
            receipt.outcome = "switched"
            if receipt.plan:
                await self._abort(workers)
                return
            await self._commit(receipt, workers, new)

    async def aclose(self) -> None:
        """See Attempt."""
        for task in self._drains:
            task.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)

    async def _prepare(
        self, workers: Sequence[WorkerProcess], new: Settings, *, warmed: bool
    ) -> None:
        """Raises Refused with the first worker's reason."""
        if not workers:
            raise Refused("no_worker_serves")
        share = share_of(new, self._crew.size)
        reasons = await asyncio.gather(
            *(_prepared(worker, share, warmed=warmed) for worker in workers)
        )
        for worker, reason in zip(workers, reasons, strict=True):
            if reason is not None:
                _log.warning("worker_refused", worker=worker.place, reason=reason)
        for reason in reasons:
            if reason is not None:
                raise Refused(reason)
        if not all(worker.is_serving for worker in workers):
            raise Refused("worker_lost")

    async def _abort(self, workers: Sequence[WorkerProcess]) -> None:
        await asyncio.gather(
            *(self._crew.ask(worker, "abort", within_s=ABORT_S) for worker in workers)
        )

    async def _commit(
        self, receipt: Receipt, workers: Sequence[WorkerProcess], new: Settings
    ) -> None:
        self.settings = new
        self.generation += 1
        receipt.generation = self.generation
        self._on_commit(new)
        answers = await asyncio.gather(
            *(self._crew.ask(worker, "commit", within_s=COMMIT_S) for worker in workers)
        )
        followed, running = [], 0
        for worker, answer in zip(workers, answers, strict=True):
            if answer is not None and answer[0] == self.generation:
                followed.append(worker)
                running += answer[1]
            elif not worker.ended.is_set():
                _log.error("worker_did_not_follow", worker=worker.place, pid=worker.pid)
                await worker.kill()
        receipt.in_flight_at_switch = running
        task = asyncio.create_task(self._note_drains(receipt, followed), name="note-drains")
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _note_drains(self, receipt: Receipt, workers: Sequence[WorkerProcess]) -> None:
        """Complete the receipt: as long as the slowest took, as many cut off as all have."""
        within_s = self.settings.drain_s + 3600  # the old settings' drain; both are bounded
        drains: list[Any] = await asyncio.gather(
            *(self._crew.ask(worker, "drained", within_s=within_s) for worker in workers)
        )
        known = [drain for drain in drains if drain is not None]
        receipt.drained_ms = max((drained_ms for drained_ms, _ in known), default=0.0)
        receipt.cut_off = sum(cut_off for _, cut_off in known)
        self._on_drained()


async def _prepared(worker: WorkerProcess, settings: Settings, *, warmed: bool) -> str | None:
    """Why this worker cannot switch; None when it can."""
    try:
        reason: str | None = await worker.channel.ask(
            "prepare", within_s=PREPARE_S + _BEYOND_S, settings=settings, warmed=warmed
        )
    except TimeoutError:
        return "worker_not_answering"
    except ChannelClosed:
        return "worker_lost"
    except AskFailed:
        return "internal_error"
    return reason
