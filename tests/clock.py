"""Time that passes when a test says so."""


class Clock:
    """Monotonic seconds; a test moves `now`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
