"""`GET /gateway/v1/extensions/{extension}/ui-url`: where the app's iframe should point."""

from aiohttp import web

from gateway.keys import LIVE, UI_TENANTS
from gateway.routes.delegate import delegated
from gateway.routes.json_response import json_response
from gateway.routes.target import decoded, split_raw
from middleware.access_log import note
from middleware.caller import CALLER, DevAuth
from middleware.errors import InvalidRequest

_MAX_PATH = 2048


async def ui_url(request: web.Request) -> web.Response:
    """Resolve the install, and let the backend say where its pages are."""
    live = request.app[LIVE]
    caller = request[CALLER]
    raw_path, _ = split_raw(request.raw_path)
    client_path = request.query.get("path", "/")
    if not client_path.startswith("/") or len(client_path) > _MAX_PATH:
        raise InvalidRequest("path_not_absolute", field="path")
    install = await live.installs.resolve(caller.tenant_id, decoded(raw_path.split("/")[4]))
    note(request, tenant=install.tenant_id, extension=install.registry_id)
    with delegated(request, live) as generation:
        url = generation.backend.resolve_ui_url(
            install.registry_id, install.content_hash, client_path, tenant_id=install.tenant_id
        )
    if not isinstance(live.settings.auth, DevAuth):
        url = request.app[UI_TENANTS].signed_url(
            url, install.tenant_id, install.registry_id, install.content_hash
        )
    return json_response(
        {
            "url": url,
            "contentHash": install.content_hash,
            "backend": generation.identity.kind,
            "generation": generation.number,
        }
    )
