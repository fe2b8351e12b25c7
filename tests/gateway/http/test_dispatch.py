"""The short way and the router's long way lead to the same place."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given
from hypothesis import strategies as st

from backends.ui_url import build_ui_url
from gateway.http.dispatch import Dispatcher
from gateway.routes.table import GATEWAY_ROUTES, mount

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
PIECES = st.sampled_from(
    [
        "api", "ext", "ext-proxy", "runner", "ext-ui", "v1", "execute", "gateway", "extensions",
        "ui-url", "backend", "healthz", "acme.crm", "sha256:ab", "sha256%3Aab", "a%20b", "a%2Fb",
        "..", ".", "", "{extension}", "a+b", "*", "index.html",
    ]
)  # fmt: skip
TARGETS = st.builds(
    lambda pieces, tail: "/" + "/".join(pieces) + tail,
    st.lists(PIECES, max_size=6),
    st.sampled_from(["", "?", "?a=b/c", "/", "?path=/ext-ui/a/b/"]),
)


def an_app() -> web.Application:
    app = web.Application()
    mount(app, GATEWAY_ROUTES)
    app.freeze()
    return app


APP = an_app()


async def never(request: web.Request) -> web.StreamResponse:
    raise AssertionError(request)


DISPATCHER = Dispatcher(APP, [route.path for route in GATEWAY_ROUTES], never)


@given(METHODS, TARGETS)
@example("GET", "/runner/ext-ui/e/sha256:ab/a/b.js")
@example("POST", "/v1/execute?x")
@example("PATCH", "/api/ext/acme.crm")
def test_whatever_the_short_way_finds_the_router_finds_too(method: str, target: str) -> None:
    found = DISPATCHER.find(method, target)
    if found is not None:
        request = make_mocked_request(method, target)
        routed = asyncio.run(APP.router.resolve(request))
        assert found[0].route is routed.route


def test_the_busy_routes_are_on_the_short_way() -> None:
    for method, target in (
        ("GET", "/runner/ext-ui/registry-1/sha256:ab/assets/app.js?v=1"),
        ("HEAD", "/ext-ui/registry-1/sha256:ab/index.html"),
        ("GET", build_ui_url("/runner", "registry-1", "sha256:" + "ab" * 32)),
        ("DELETE", "/api/ext/acme.crm/items/1"),
        ("POST", "/v1/execute"),
        ("GET", "/healthz"),
    ):
        assert DISPATCHER.find(method, target) is not None, target
    assert DISPATCHER.find("DELETE", "/healthz") is None
    assert DISPATCHER.find("GET", "/healthzz") is None
