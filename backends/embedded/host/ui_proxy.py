"""ui-proxy.call-route: a guest asks the host application's own routes."""

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.internal_client import ExchangeFailed
from backends.embedded.host.on_loop import Unanswered, run_on_loop

CAPABILITY = "cap:ui.proxy"
MAX_RESPONSE_BYTES = 4 * 1024 * 1024


def call_route(call: Call, route: str, payload: bytes | None) -> Ok | Err:
    """GET `route`, or POST `payload` (JSON) to it, and return the body of a 2xx answer.

    Errors: denied (also the route's 401, 403, 429), route-not-found (its 404, or no host
    application is configured), bad-request (its other 4xx, or a malformed route), internal.
    """
    services = call.services
    if not call.may(CAPABILITY):
        return Err("denied")
    if services.ui_proxy is None:
        return Err("route-not-found")
    proxy = services.ui_proxy
    url = proxy.url(call.request.context.extension_id, route)
    if url is None:
        return Err("bad-request")
    headers = _headers(call)
    if payload is not None:
        headers["content-type"] = "application/json"
    try:
        answer = run_on_loop(
            services.loop,
            lambda: proxy.client.exchange(
                "GET" if payload is None else "POST",
                url,
                headers=headers,
                body=payload,
                max_bytes=MAX_RESPONSE_BYTES,
            ),
            call.remaining_s(proxy.timeout_s),
        )
    except (ExchangeFailed, Unanswered):
        return Err("internal")
    return Ok(answer.body) if 200 <= answer.status < 300 else Err(_error_for(answer.status))


def _headers(call: Call) -> dict[str, str]:
    context, user = call.request.context, call.request.user
    headers = {
        "x-request-id": call.request.request_id or "ui-proxy-call",
        "x-alga-tenant": context.tenant_id,
        "x-alga-extension": context.extension_id,
    }
    if context.install_id:
        headers["x-ext-install-id"] = context.install_id
    if context.version_id:
        headers["x-ext-version-id"] = context.version_id
    if call.secrets and "api_key" in call.secrets:
        headers["x-api-key"] = call.secrets["api_key"]
    if user is not None:
        headers["x-user-id"] = user.user_id
        headers["x-user-email"] = user.user_email
    return headers


def _error_for(status: int) -> str:
    if status in {401, 403, 429}:
        return "denied"
    if status == 404:
        return "route-not-found"
    return "bad-request" if 400 <= status < 500 else "internal"
