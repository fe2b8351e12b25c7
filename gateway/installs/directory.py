"""Installs without a registry: a folder of bundles and its index.

An install of the tenant "*" serves every tenant that has none of its own: the habit of
development, where nobody wants to install once per tenant.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from backends.bundles import capabilities
from backends.memo import Memo
from gateway.installs.contract import (
    ExtensionNotInstalled,
    Install,
    Installs,
    RegistryUnavailable,
)
from gateway.installs.index import IndexStamp, IndexUnreadable, index_stamp, read_index
from gateway.installs.naming import EVERY_TENANT, install_id, names_of
from gateway.variables.unusable import words_of

_READ_TIMEOUT_S = 5.0
_MAX_TENANTS = 1024
_NEVER_READ: IndexStamp = (-1, -1, -1)  # no index has this stamp, nor the next
_UNREADABLE: IndexStamp = (-2, -2, -2)

_log = structlog.get_logger("installs")


class DirectoryInstalls:
    """Answers from the index, and notices at the next question when it was changed.

    Args:
        dev_tenant: whom listings show an install for every tenant under.
    """

    def __init__(self, root: Path, *, dev_tenant: str) -> None:
        self._root = root
        self._dev_tenant = dev_tenant
        self._installs: tuple[Install, ...] | None = None  # None: the index was never read
        self._stamp: IndexStamp | None = _NEVER_READ  # of the index that they are from
        self._by_tenant: Mapping[str, Mapping[str, Install]] = {}  # and by every name of theirs
        self._shared: Memo[str, tuple[Install, ...]] = Memo(_MAX_TENANTS)  # see _shared_with
        self._reading = asyncio.Lock()
        self._is_checked = False  # against the index, in this turn of the event loop

    async def resolve(self, tenant_id: str, extension: str, /) -> Install:
        """See Installs.resolve."""
        await self._refresh()
        return self._find(tenant_id, extension)

    def known(self, tenant_id: str, extension: str, /) -> Install | None:
        """See Installs.known."""
        # One look at the index serves all who ask in a turn of the event loop: cheap enough, and
        # no answer is older than its turn.
        if not self._is_checked:
            if self._installs is None or self._current_stamp() != self._stamp:
                return None
            self._is_checked = True
            asyncio.get_running_loop().call_soon(self._turn_is_over)
        return self._find(tenant_id, extension)

    async def all(self, tenant_id: str | None, /) -> tuple[Install, ...]:
        """See Installs.all."""
        await self._refresh()
        own = tuple(
            one
            for one in self._installs or ()
            if one.tenant_id != EVERY_TENANT and tenant_id in (None, one.tenant_id)
        )
        return own + self._shared_with(tenant_id or self._dev_tenant)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _turn_is_over(self) -> None:
        self._is_checked = False

    def _find(self, tenant_id: str, extension: str) -> Install:
        wanted = extension.lower()
        own = self._by_tenant.get(tenant_id, {}).get(wanted)
        if own is not None and tenant_id != EVERY_TENANT:
            return own
        for shared in self._shared_with(tenant_id):
            if wanted in names_of(shared):
                return shared
        raise ExtensionNotInstalled

    def _shared_with(self, tenant_id: str) -> tuple[Install, ...]:
        """The installs for every tenant, as this one's, without those that it overrides.

        The tenant "*" overrides them all, so nobody gets one by that name.
        """
        known = self._shared.get(tenant_id)
        if known is None:
            known = self._shared.keep(tenant_id, tuple(self._made_out_to(tenant_id)))
        return known

    def _made_out_to(self, tenant_id: str) -> Iterable[Install]:
        own = self._by_tenant.get(tenant_id, {})
        for shared in self._installs or ():
            if shared.tenant_id == EVERY_TENANT and (shared.extension_slug or "") not in own:
                yield replace(
                    shared,
                    tenant_id=tenant_id,
                    install_id=install_id(tenant_id, shared.extension_slug or ""),
                )

    async def _refresh(self) -> None:
        stamp = self._current_stamp()
        if stamp == self._stamp and self._installs is not None:
            return
        async with self._reading:
            stamp = self._current_stamp()
            if stamp != self._stamp:
                await self._read(stamp)
        if self._installs is None:
            raise RegistryUnavailable(reason="index_unreadable")

    def _current_stamp(self) -> IndexStamp | None:
        with suppress(OSError):
            return index_stamp(self._root)
        return _UNREADABLE

    async def _read(self, stamp: IndexStamp | None) -> None:
        """Read the index; one that cannot be read leaves the last good one standing."""
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                installs = await asyncio.to_thread(read_index, self._root)
        except OSError as error:
            _log.error(
                "install_index_unreadable", error=type(error).__name__, detail=words_of(error)
            )
        except IndexUnreadable as error:
            self._stamp = stamp  # the same bytes need no second look
            _log.error("install_index_unreadable", error=str(error))
        else:
            self._stamp = stamp
            # An older program's index may hold names that no runner knows.
            installs = tuple(
                replace(one, providers=capabilities.known(one.providers)) for one in installs
            )
            self._installs = installs
            self._by_tenant = _indexed(installs)
            self._shared.clear()


def _indexed(installs: Iterable[Install]) -> Mapping[str, Mapping[str, Install]]:
    table: dict[str, dict[str, Install]] = {}
    for install in installs:
        table.setdefault(install.tenant_id, {}).update(
            (name, install) for name in names_of(install)
        )
    return table


_guard: type[Installs] = DirectoryInstalls
