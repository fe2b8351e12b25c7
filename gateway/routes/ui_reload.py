"""`/runner/ext-ui-reload/...`: what pages ask so as to reload by themselves (`EXT_UI_RELOAD`).

While that is off, nothing is there.
"""

from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Final

import orjson
from aiohttp import hdrs, web

from gateway.http.event_streams import write_event
from gateway.installs.contract import Install
from gateway.keys import LIVE, STATE, UI_TENANTS, UI_WATCHERS
from gateway.routes.asset_address import Address, address_of, tenant_of_page
from gateway.ui_reload import FOLDER, next_install
from middleware.access_log import note
from middleware.caller import DevAuth

WRITE_S: Final = 10.0

_FILE: Final = Path(__file__).parents[2] / "static" / "ui-reload" / "page.js"
# Whoever asks proves by the address alone whose page it is; no cookie counts for a stranger's
# script. And a framed page without an origin is a stranger to its own.
_FOR_ALL: Final = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}


async def script(request: web.Request) -> web.Response:
    """The script that pages carry."""
    _require_switched_on(request)
    return web.Response(body=_script(), content_type="text/javascript", charset="utf-8")


async def changes(request: web.Request) -> web.StreamResponse:
    """Server-sent events: one, `installed`, when the page's extension is another bundle.

    Its data is `{"contentHash", "signed"}`: what to put in the place of both in the page's own
    address; `signed` is null where addresses need no proof.

    Raises:
        InvalidContentHash, InvalidRequest, TenantMismatch: as for the page's own address.
        Overloaded: enough pages are waiting already.
    """
    _require_switched_on(request)
    address = address_of(request.raw_path, FOLDER)
    tenant = tenant_of_page(request, address)
    note(request, tenant=tenant, extension=address.extension)
    if tenant is None:
        raise web.HTTPNotFound
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", **_FOR_ALL})
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    live, state = request.app[LIVE], request.app[STATE]
    with request.app[UI_WATCHERS].place():
        await response.prepare(request)
        found = next_install(
            lambda: live.installs.resolve(tenant, address.extension),
            address.content_hash,
            lambda: state.stopping or not live.settings.ui_reload,
        )
        async with aclosing(found) as installs:
            async for install in installs:
                event = b": waiting\n\n" if install is None else _event(request, address, install)
                await write_event(response, event, within_s=WRITE_S)
    return response


def _event(request: web.Request, address: Address, install: Install) -> bytes:
    signed = None
    if not isinstance(request.app[LIVE].settings.auth, DevAuth):
        # Under the name that the page has used, as its address goes on with it.
        signed = request.app[UI_TENANTS].sign(
            install.tenant_id, address.extension, install.content_hash
        )
    data = orjson.dumps({"contentHash": install.content_hash, "signed": signed})
    return b"event: installed\ndata: " + data + b"\n\n"


def _require_switched_on(request: web.Request) -> None:
    if not request.app[LIVE].settings.ui_reload:
        raise web.HTTPNotFound


@cache
def _script() -> bytes:
    return _FILE.read_bytes()
