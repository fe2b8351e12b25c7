"""A harmless call that shows whether a runner accepts the gateway's credentials."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Knocks(Protocol):
    """A backend whose runner checks who calls; one in this process does not."""

    async def knock(self, service_token: str | None, /, *, timeout_s: float) -> None:
        """Send an empty envelope to POST /v1/execute: checked like a call, and runs nothing.

        It wakes a runner that is scaled to zero, as a call does.

        Args:
            service_token: what calls are sent with; None: nothing.
            timeout_s: the whole budget, connecting included.

        Raises:
            RunnerProtocolError: "runner_refused_credentials", or a status that the protocol
                does not have for an envelope.
            BackendError: whatever else a call can fail with.
        """
