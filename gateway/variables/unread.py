"""Variables that nobody reads, told to the log: a misspelt GATEWAY_AUTH means `dev`."""

from collections.abc import Iterable

import structlog

from gateway.variables.environment import unread_warning

_log = structlog.get_logger("settings")


def warn_of_unread(names: Iterable[str]) -> None:
    """One line for each of them."""
    for name in sorted(names):
        _log.warning("variable_unread", variable=name, detail=unread_warning(name))
