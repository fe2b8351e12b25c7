"""The work: what is asked for, what the right answer is, and of which kinds of server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from benchmarks.gateway import SERVICE_TOKEN
from benchmarks.site import TENANT, File, Site
from gateway.callers.ui_tenants import COOKIE, UiTenants
from middleware.caller import KEY_HEADER, TENANT_HEADER

Fields = tuple[tuple[str, str], ...]

# What Chrome sends for a script of a page, besides Host and the cookies.
CHROME: Final[Fields] = (
    ("Connection", "keep-alive"),
    ("sec-ch-ua-platform", '"Linux"'),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/142.0.0.0 Safari/537.36",
    ),
    ("sec-ch-ua", '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("Accept", "*/*"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Dest", "script"),
    ("Referer", "http://localhost:3000/extensions/hello"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-US,en;q=0.9,de;q=0.8"),
    ("DNT", "1"),
)


@dataclass(frozen=True)
class Exchange:
    """One request and the answer that is right. `etag` is None where none is expected."""

    target: str
    headers: Fields
    status: int
    answer: bytes
    method: str = "GET"
    body: bytes = b""
    etag: str | None = None

    def raw(self) -> bytes:
        """The request as it is sent over HTTP/1.1."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
        exchanges: what each kind of server is asked; a kind that is missing takes no part.
        connections: how many clients ask at once, each over one kept-alive connection.
    """

    name: str
    says: str
    exchanges: Mapping[str, Exchange]
    connections: int = 32


def all_work(site: Site, gateway_key: str) -> tuple[Work, ...]:
    """Every row, in the order of the table."""
    small, medium, large = (site.files[name] for name in ("small.js", "medium.js", "large.wasm"))
    signed = UiTenants(gateway_key).sign(
        TENANT, site.install.registry_id, site.install.content_hash
    )
    cookies = (("Cookie", f"session=6f1c2b7e9a4d4f0e8c3b5a7d; theme=dark; {COOKIE}={signed}"),)
    envelope, call = _envelope(site), _call(site, gateway_key, answer=site.guest_body)
    embedded = _call(site, gateway_key, answer=_hello(site))
    return (
        Work("W1h", "UI file of 2 KiB through the runner", _passing(_fetch(small, cookies))),
        Work("W5", "the same, not modified (304)", _passing(_fetch(small, cookies, known=True))),
        Work("W2", "UI file of 200 KiB through the runner", _passing(_fetch(medium, cookies))),
        Work(
            "W8",
            "UI file of 10 MiB through the runner",
            _passing(_fetch(large, cookies)),
            connections=4,
        ),
        Work("W3", "`POST /v1/execute`, envelope of 1 KiB passed on", _passing(envelope)),
        Work(
            "EXT",
            "handler call; the others pass on an envelope of 1 KiB",
            {"gateway": call, "proxy": envelope},
        ),
        Work("W4", "UI file of 2 KiB from the cache", _cached(_fetch(small, cookies))),
        Work("W5c", "the same, not modified (304)", _cached(_fetch(small, cookies, known=True))),
        Work("W4b", "UI file of 200 KiB from the cache", _cached(_fetch(medium, cookies))),
        Work("EMB", "handler call of the sample, in process", {"gateway-embedded": embedded}),
        Work(
            "EMBs",
            "call of a small handler, which echoes 256 bytes, in process",
            {"gateway-embedded": _echo(site, gateway_key)},
        ),
    )


def _passing(exchange: Exchange) -> Mapping[str, Exchange]:
    return {"gateway": exchange, "proxy": exchange}


def _cached(exchange: Exchange) -> Mapping[str, Exchange]:
    return {"gateway-cache": exchange, "cache": exchange}


def _fetch(file: File, cookies: Fields, *, known: bool = False) -> Exchange:
    condition: Fields = (("If-None-Match", file.etag),) if known else ()
    return Exchange(
        file.target,
        CHROME + cookies + condition,
        status=304 if known else 200,
        answer=b"" if known else file.content,
        etag=file.etag,
    )


def _envelope(site: Site) -> Exchange:
    headers = (
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip, deflate"),
        ("User-Agent", "node"),
        ("Content-Type", "application/json"),
        ("x-request-id", "bench-1"),
        (TENANT_HEADER, TENANT),
        ("x-alga-extension", site.install.registry_id),
        ("x-runner-service-token", SERVICE_TOKEN),
    )
    return Exchange("/v1/execute", headers, 200, site.answer, method="POST", body=site.envelope)


def _call(site: Site, gateway_key: str, *, answer: bytes) -> Exchange:
    known = ((KEY_HEADER, gateway_key), (TENANT_HEADER, TENANT), ("x-request-id", "bench-1"))
    return Exchange(site.handler_target, CHROME + known, 200, answer)


def _echo(site: Site, gateway_key: str) -> Exchange:
    known = ((KEY_HEADER, gateway_key), (TENANT_HEADER, TENANT), ("x-request-id", "bench-1"))
    body = b"x" * 256
    headers = (*CHROME, *known, ("Content-Type", "text/plain"))
    return Exchange(site.small_handler_target, headers, 200, body, method="POST", body=body)


def _hello(site: Site) -> bytes:
    """What the sample answers to a caller whose application names no person."""
    install = site.install
    return orjson.dumps(
        {
            "greeting": "Hello, stranger!",
            "tenant": install.tenant_id,
            "extension": install.registry_id,
            "install": install.install_id,
            "requestId": "bench-1",
            "user": None,
        }
    )
