"""The rig as a whole: one Knative service with revisions, scaled, rolled over and restarted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from tests.rigs.knative.activator import Activator, Backing
from tests.rigs.knative.envoy import Envoy
from tests.rigs.knative.pods import OpenRunner
from tests.rigs.knative.queue_proxy import QueueLimits, QueueProxy
from tests.rigs.knative.serving_api import ServingApi

SERVICE: Final = "runner"
HOST: Final = "runner.extensions.example.com"


@dataclass(slots=True)
class Pod:
    """A queue-proxy with its runner."""

    queue_proxy: QueueProxy
    stack: AsyncExitStack


class KnativeRig:
    """Starts with one revision that runs, or sleeps.

    Args:
        open_runner: starts the runner of each pod.
        limits: of every pod.
        asleep: begin with no pod.
        envoy: without it the activator is the ingress: enough where Host routes do not matter.

    Attributes:
        may_start: clear it to hold a starting pod back.
        starts: how many pods were started.
        revision: the one that takes the traffic.
    """

    def __init__(
        self,
        open_runner: OpenRunner,
        *,
        limits: QueueLimits = QueueLimits(),  # noqa: B008 - frozen
        asleep: bool = False,
        envoy: bool = True,
    ) -> None:
        self._open_runner = open_runner
        self._limits = limits
        self._asleep = asleep
        self._with_envoy = envoy
        self._stack = AsyncExitStack()
        self._pods: dict[str, Pod] = {}
        self._generation = 0
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.starts = 0
        self.revision = ""
        self.api = ServingApi()
        self.activator = Activator()
        self.envoy: Envoy | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.api)
            stack.push_async_callback(self._stop_pods)
            await stack.enter_async_context(self.activator)
            await self._new_revision(awake=not self._asleep)
            if self._with_envoy:
                routes = {HOST: {self.revision: 100}}
                self.envoy = await stack.enter_async_context(Envoy(self.activator.port, routes))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.may_start.set()
        await self._stack.aclose()

    @property
    def ingress_url(self) -> str:
        return self.envoy.url if self.envoy is not None else self.activator.url

    @property
    def queue_proxy(self) -> QueueProxy:
        """That of the revision which takes the traffic."""
        return self._pods[self.revision].queue_proxy

    async def scale_to_zero(self) -> None:
        """Stop the pod; the next call wakes another."""
        self.activator.revisions[self.revision].serve(None)
        await self._stop_pod(self.revision)
        await self.publish()

    async def roll_over(self, *, quiet_s: float = 0.1) -> None:
        """A new revision: up, ready, given the traffic; then the old one drains and goes."""
        old = self.revision
        await self._new_revision(awake=True)
        if self.envoy is not None:
            await self.envoy.route(HOST, {self.revision: 100})
        await self._pods[old].queue_proxy.drain(quiet_s=quiet_s)
        self.activator.revisions.pop(old)
        await self._stop_pod(old)
        await self.api.delete("revisions", old)

    async def publish(self, **status: object) -> None:
        """Tell the Serving API how things are; `status` replaces members of the service's."""
        condition = {"type": "Ready", "status": "True"}
        awake = self.revision in self._pods
        spec = {
            "containerConcurrency": self._limits.container_concurrency,
            "timeoutSeconds": self._limits.timeout_s,
            "responseStartTimeoutSeconds": self._limits.response_start_s,
            "idleTimeoutSeconds": self._limits.idle_s,
        }
        await self.api.put(
            "revisions",
            self.revision,
            metadata={"labels": {"serving.knative.dev/service": SERVICE}},
            spec=spec,
            status={
                "actualReplicas": int(awake),
                "conditions": [condition, {"type": "Active", "status": str(awake)}],
            },
        )
        told: dict[str, Any] = {
            "url": f"http://{HOST}",
            "observedGeneration": self._generation,
            "conditions": [condition, {"type": "RoutesReady", "status": "True"}],
            "latestReadyRevisionName": self.revision,
            "traffic": [{"revisionName": self.revision, "percent": 100, "latestRevision": True}],
            **status,
        }
        await self.api.put(
            "services",
            SERVICE,
            metadata={"generation": self._generation},
            spec={"template": {"spec": spec}},
            status=told,
        )

    async def _new_revision(self, *, awake: bool) -> None:
        self._generation += 1
        name = f"{SERVICE}-{self._generation:05d}"

        async def wake() -> None:
            await self._start_pod(name)

        backing = self.activator.revisions[name] = Backing(wake)
        if awake:
            await self._start_pod(name)
        else:
            backing.serve(None)
        self.revision = self.activator.default = name
        await self.publish()

    async def _start_pod(self, name: str) -> None:
        await self.may_start.wait()
        self.starts += 1
        async with AsyncExitStack() as stack:
            runner_url = await stack.enter_async_context(self._open_runner())
            queue_proxy = await stack.enter_async_context(QueueProxy(runner_url, self._limits))
            self._pods[name] = Pod(queue_proxy, stack.pop_all())
        self.activator.revisions[name].serve(queue_proxy.url)
        if name == self.revision:
            await self.publish()

    async def _stop_pod(self, name: str) -> None:
        pod = self._pods.pop(name, None)
        if pod is not None:
            await pod.stack.aclose()

    async def _stop_pods(self) -> None:
        for name in tuple(self._pods):
            await self._stop_pod(name)


@asynccontextmanager
async def held_starts(rig: KnativeRig) -> AsyncIterator[None]:
    """While this is open, no pod comes up."""
    rig.may_start.clear()
    try:
        yield
    finally:
        rig.may_start.set()
