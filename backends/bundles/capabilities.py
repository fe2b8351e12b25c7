"""What an extension may be granted, and what it gets in the end.

A capability counts only when the bundle's manifest declares it and the install grants
it: an operator can withhold what a manifest asks for, and a grant alone opens nothing.
"""

from collections.abc import Iterable

DEFAULT_CAPABILITIES = frozenset({"cap:context.read", "cap:log.emit", "cap:user.read"})
"""Every guest has these, declared or not."""

KNOWN_CAPABILITIES = DEFAULT_CAPABILITIES | {
    "cap:secrets.get",
    "cap:http.fetch",
    "cap:storage.kv",
    "cap:ui.proxy",
    "cap:scheduler.manage",
    "cap:invoice.manual.create",
    "cap:client.read",
    "cap:service.read",
}


def normalise(names: Iterable[str]) -> frozenset[str]:
    """Trim and lower-case, and drop what is empty then.

    >>> sorted(normalise([" cap:HTTP.fetch ", "", "cap:http.fetch"]))
    ['cap:http.fetch']
    """
    return frozenset(name for raw in names if (name := raw.strip().lower()))


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names that runners know, normalised, in their order, each once; others grant nothing.

    >>> known([" CAP:http.fetch", "http.fetch", "cap:metrics"])
    ('cap:http.fetch',)
    """
    trimmed = (name.strip().lower() for name in names)
    return tuple(dict.fromkeys(name for name in trimmed if name in KNOWN_CAPABILITIES))


def unknown(names: Iterable[str]) -> frozenset[str]:
    """The names that no runner of this protocol knows, normalised.

    >>> unknown(["cap:log.emit", "slack"])
    frozenset({'slack'})
    """
    return normalise(names) - KNOWN_CAPABILITIES


def effective(declared: Iterable[str], granted: Iterable[str]) -> frozenset[str]:
    """What the guest may do: declared and granted, and the defaults.

    >>> sorted(effective(["cap:storage.kv", "cap:http.fetch"], ["cap:http.fetch"]))
    ['cap:context.read', 'cap:http.fetch', 'cap:log.emit', 'cap:user.read']
    """
    return (normalise(declared) & normalise(granted) & KNOWN_CAPABILITIES) | DEFAULT_CAPABILITIES
