"""The installed extensions, as the console lists them: what they are, never how configured."""

import asyncio
import time
from typing import Final

from aiohttp import web

from gateway.callers.ui_tenants import LIFETIME_S
from gateway.http.page_address import served_here
from gateway.installs.contract import Install, RegistryUnavailable
from gateway.keys import LIVE, UI_TENANTS
from middleware.caller import DevAuth

SHOWN: Final = 200
_ASK_S: Final = 2.0
_SIGNED_ANEW_S: Final = LIFETIME_S / 2


class Extensions:
    """Lists them anew when something changed, and before a preview's address expires."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._seen: tuple[int, tuple[Install, ...]] | None = None
        self._listed: dict[str, object] = {}
        self._until = 0.0

    async def section(self) -> dict[str, object]:
        """All installs, at most SHOWN of them; `error` when nobody could say."""
        live = self._app[LIVE]
        try:
            async with asyncio.timeout(_ASK_S):
                installs = await live.installs.all(None)
        except (RegistryUnavailable, TimeoutError):
            return {"error": "registry_unavailable", "total": 0, "installs": []}
        seen = (live.slot.current.number, installs)
        if seen != self._seen or time.monotonic() >= self._until:
            self._listed = {
                "error": None,
                "total": len(installs),
                "installs": [self._shown(install) for install in installs[:SHOWN]],
            }
            self._seen, self._until = seen, time.monotonic() + _SIGNED_ANEW_S
        return self._listed

    def _shown(self, install: Install) -> dict[str, object]:
        endpoints = install.endpoints
        return {
            "tenant": install.tenant_id,
            "slug": install.extension_slug or install.registry_id,
            "label": install.ui_label,
            "version": install.version,
            "content_hash": install.content_hash,
            "install_id": install.install_id,
            "registry_id": install.registry_id,
            "version_id": install.version_id,
            "providers": list(install.providers),
            "endpoints": None
            if endpoints is None
            else [{"method": one.method, "path": one.path} for one in endpoints],
            "preview": self._preview(install),
            "may_be_tried": self._caller() == install.tenant_id,
        }

    def _caller(self) -> str | None:
        """As which tenant the console's own calls count; None: they are refused."""
        auth = self._app[LIVE].settings.auth
        return auth.tenant if isinstance(auth, DevAuth) else None

    def _preview(self, install: Install) -> str | None:
        live, caller = self._app[LIVE], self._caller()
        if caller not in (None, install.tenant_id):
            return None  # whatever the address says, whoever opens it is the caller
        try:
            url = live.slot.current.backend.resolve_ui_url(
                install.registry_id, install.content_hash, tenant_id=install.tenant_id
            )
        except ValueError:  # the registry names no bundle that could be shown
            return None
        url = served_here(url, live.settings.public_base)
        if caller is not None:
            return url
        return self._app[UI_TENANTS].signed_url(
            url, install.tenant_id, install.registry_id, install.content_hash
        )
