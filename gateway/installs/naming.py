"""What installs of a bundle folder are called.

Ids are derived, not drawn: a tenant's install of an extension has the same id on every machine.
An install for every tenant has another id for each of them, so what they store stays apart.
"""

import uuid
from typing import Final

from gateway.installs.contract import Install

EVERY_TENANT: Final = "*"

_NAMESPACE: Final = uuid.UUID("5b0f6c52-6f0a-5d0e-9f3e-0c1d7d9a4e11")


def names_of(install: Install) -> frozenset[str]:
    """All that it may be asked for by, in lower case: its ids and its slug."""
    names = (install.install_id, install.registry_id, install.extension_slug or "")
    return frozenset(name.lower() for name in names if name)


def install_id(tenant: str, slug: str) -> str:
    """The id of a tenant's install of the extension with that slug."""
    return derived_id("install", tenant, slug)


def derived_id(*parts: str) -> str:
    """A UUID that follows from `parts` (version 5, RFC 9562 section 5.5)."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))
