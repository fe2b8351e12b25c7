"""Knocking at a runner's door: the promise of a backend whose runner may turn the gateway away."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Knocks(Protocol):
    """A backend whose runner has a door of its own; one in this process has none."""

    async def knock(self, service_token: str | None, /, *, timeout_s: float) -> None:
        """Send what is let in like a call, and can run nothing: an envelope without content.

        It wakes a runner that sleeps, as a call does.

        Args:
            service_token: what calls are sent with; None: nothing.
            timeout_s: the whole budget, connecting included.

        Raises:
            RunnerProtocolError: "runner_refused_credentials", or the answer is none that an
                envelope gets.
            BackendError: whatever else a call would have met.
        """
