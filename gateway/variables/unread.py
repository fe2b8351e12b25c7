"""Variables that nobody reads, told to the log: a misspelt GATEWAY_AUTH means `dev`."""

from collections.abc import Iterable

import structlog

from gateway.variables.environment import mistaken_and_others, unread_warning

_log = structlog.get_logger("settings")


def warn_of_unread(names: Iterable[str]) -> None:
    """A warning for each that was probably meant for us; of the others one note together."""
    mistaken, others = mistaken_and_others(names)
    for name in mistaken:
        _log.warning("variable_unread", variable=name, detail=unread_warning(name))
    if others:
        _log.info("variables_unread", variables=others, detail=unread_warning(*others))


class UnreadSinceStart:
    """Warns of what a reload brings, once: a reload that changes nothing leaves the old settings.

    Args:
        told: what the start has warned of.
    """

    def __init__(self, told: Iterable[str]) -> None:
        self._told = frozenset(told)

    def loaded(self, names: Iterable[str]) -> None:
        """Warn of those that the load before had not brought."""
        before, self._told = self._told, frozenset(names)
        warn_of_unread(self._told - before)
