"""Variables that do not count, told to the log: a misspelt GATEWAY_AUTH means `dev`."""

import structlog

from gateway.settings import Settings
from gateway.variables.environment import mistaken_and_others, unread_warning

_log = structlog.get_logger("settings")


class Ignored:
    """Warns of what in the settings does not count, of each once.

    A reload that changes nothing leaves the old settings: what is new in it is what the load
    before has not brought.
    """

    def __init__(self, told: Settings | None = None) -> None:
        self._unread = frozenset(told.unread if told else ())
        self._unused = frozenset(told.unused if told else ())

    def loaded(self, settings: Settings) -> None:
        """A warning for each variable that was probably meant to count; of the others, which
        may be another program's, one note together."""
        unread = frozenset(settings.unread) - self._unread
        unused = frozenset(settings.unused) - self._unused
        self._unread, self._unused = frozenset(settings.unread), frozenset(settings.unused)
        mistaken, others = mistaken_and_others(unread)
        for name in mistaken:
            _log.warning("variable_unread", variable=name, detail=unread_warning(name))
        if others:
            _log.info("variables_unread", variables=others, detail=unread_warning(*others))
        for one in unused:
            _log.warning("variable_unused", variable=one.variable, detail=one.problem, fix=one.fix)
