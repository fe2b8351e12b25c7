"""A runner that speaks the whole runner protocol and does as the test says.

    async with FakeRunner() as runner:
        runner.script.append(Envelope(status=201, body=b"made"))
        ...  # talk to runner.url
        assert runner.executed[0].envelope["http"]["path"] == "/hello"

Out of the box it behaves like the real one, unpleasant habits included: handler answers travel
inside a 200 envelope, and every answer of every route claims to be immutable for a year.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDictProxy

MAX_JSON_BYTES = 2 * 1024 * 1024
IMMUTABLE = "public, max-age=31536000, immutable"
DEFAULT_CSP = "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'self'"


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it was on the wire."""

    method: str
    target: str  # the bytes of the request line, nothing decoded
    headers: CIMultiDictProxy[str]
    body: bytes
    peer: tuple[str, int]  # one per connection

    @property
    def envelope(self) -> dict[str, Any]:
        """The execute envelope; any JSON may be in there, so its members are Any."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def guest_body(self) -> bytes | None:
        """What the guest would be given as its request body."""
        encoded = self.envelope["http"].get("body_b64")
        return None if encoded is None else base64.b64decode(encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A guest's answer, or the runner's in-envelope error: both are HTTP 200."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    error: str | None = None

    def encode(self) -> bytes:
        body = None if self.body is None else base64.b64encode(self.body).decode()
        return json.dumps(
            {
                "status": self.status,
                "headers": dict(self.headers),
                "body_b64": body,
                "error": self.error,
            }
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An answer of the HTTP layer: a refusal, a proxy's complaint, nonsense."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class UiFile:
    """One file of the extension's UI."""

    body: bytes
    content_type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"sha256-{hashlib.sha256(self.body).hexdigest()}"'


Answer = Envelope | HttpAnswer
Guest = Callable[[Received], Answer]


def echo(received: Received) -> Answer:
    """A guest that answers with what it was given."""
    http = received.envelope["http"]
    told = {key: http[key] for key in ("method", "path", "query", "headers") if key in http}
    told["body"] = (received.guest_body or b"").decode("utf-8", "replace")
    return Envelope(
        headers={"content-type": "application/json", "x-ext-guest": "echo"},
        body=json.dumps(told).encode(),
    )


class FakeRunner:
    """Listens on 127.0.0.1 between `async with` and its end.

    Attributes:
        guest: what runs when `script` is empty.
        script: the next execute answers, first come first served.
        files: UI files by their path inside the bundle; any extension and hash will do.
        redirects: path inside the bundle -> Location.
        asset_script: the next UI answers, before files are looked at.
        health: what /healthz answers when `health_script` is empty.
        health_script: the next answers of /healthz.
        service_token: who does not send it is let in nowhere but to /healthz; None: everybody is.
        may_answer: clear it to hold every answer back.
        asked: every request, as soon as it has been read: wait on it instead of sleeping.
        abandoned: set when a client leaves before its answer was given.
        received: every request so far, oldest first.
    """

    def __init__(self, guest: Guest = echo) -> None:
        self.guest = guest
        self.script: deque[Answer] = deque()
        self.files: dict[str, UiFile] = {
            "index.html": UiFile(body=b"<!doctype html><title>hello</title>"),
            "app.js": UiFile(body=b"console.log('hello');", content_type="text/javascript"),
        }
        self.redirects: dict[str, str] = {}
        self.asset_script: deque[HttpAnswer] = deque()
        self.health = HttpAnswer(
            headers={"content-type": "application/json"},
            body=b'{"cache_writable":true,"bundle_store":"ok","ext_cache_max_bytes":null}',
        )
        self.health_script: deque[HttpAnswer] = deque()
        self.service_token: str | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: asyncio.Queue[Received] = asyncio.Queue()
        self.abandoned = asyncio.Event()
        self.received: list[Received] = []
        self.port = 0
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.may_answer.set()
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def executed(self) -> list[Received]:
        return [each for each in self.received if each.target.endswith("/v1/execute")]

    @property
    def assets(self) -> list[Received]:
        return [each for each in self.received if "/ext-ui/" in each.target]

    @property
    def connections(self) -> int:
        """How many connections have carried a request."""
        return len({each.peer for each in self.received})

    async def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        server = web.Server(self._answer, handler_cancellation=True)
        self._runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the listener and every connection: the address now refuses."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def called(self) -> None:
        """Wait for the next call of a handler among the requests in `asked`."""
        while not (await self.asked.get()).target.endswith("/v1/execute"):
            pass

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        peer = request.transport.get_extra_info("peername")[:2] if request.transport else ("", 0)
        received = Received(request.method, request.raw_path, request.headers, body, peer)
        self.received.append(received)
        self.asked.put_nowait(received)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        path = received.target.partition("?")[0]
        answer: Answer
        if not (self._knows(received) or path.endswith("/healthz")):
            answer = HttpAnswer(status=401)
        elif path.endswith("/v1/execute"):
            answer = self._execute(received)
        elif path.endswith("/healthz"):
            answer = self.health_script.popleft() if self.health_script else self.health
        elif "/ext-ui/" in path:
            answer = self._ui(received, path)
        else:
            answer = HttpAnswer(status=404)
        return _respond(answer)

    def _knows(self, received: Received) -> bool:
        said = received.headers.get("x-runner-service-token")
        return self.service_token in (None, said)

    def _execute(self, received: Received) -> Answer:
        if received.method != "POST":
            return HttpAnswer(status=405, headers={"allow": "POST"})
        if self.script:
            return self.script.popleft()
        if not received.headers.get("content-type", "").startswith("application/json"):
            return HttpAnswer(status=415, body=b"Expected request with `Content-Type: ...`")
        if len(received.body) > MAX_JSON_BYTES:
            return HttpAnswer(status=413, body=b"length limit exceeded")
        if not (received.headers.get("x-alga-tenant") and received.headers.get("x-alga-extension")):
            return Envelope(status=400, error="missing_routing_headers")
        try:
            envelope = received.envelope
        except ValueError:
            return HttpAnswer(status=400, body=b"Failed to parse the request body as JSON")
        if not {"context", "http"} <= envelope.keys():
            return HttpAnswer(status=422, body=b"missing field")
        return self.guest(received)

    def _ui(self, received: Received, path: str) -> HttpAnswer:
        if received.method not in ("GET", "HEAD"):
            return HttpAnswer(status=405, headers={"allow": "GET,HEAD"})
        if self.asset_script:
            return self.asset_script.popleft()
        segments = path.partition("/ext-ui/")[2].split("/", 2)
        if len(segments) < 3 or not segments[2]:
            return HttpAnswer(status=404)
        _, content_hash, tail = (unquote(segment) for segment in segments)
        if not re.fullmatch(r"sha256:[0-9a-fA-F]+", content_hash):
            return HttpAnswer(status=400, body=b"invalid content hash")
        if tail in self.redirects:
            return HttpAnswer(status=307, headers={"location": self.redirects[tail]})
        if any(segment.startswith(".") for segment in tail.split("/")):
            return HttpAnswer(status=400, body=b"invalid path")
        file = self.files.get(tail)
        if file is None and "." not in tail.rpartition("/")[2]:
            file = self.files.get("index.html")  # a page inside the extension's own router
        return HttpAnswer(status=404) if file is None else _serve(file, received.headers)


def _serve(file: UiFile, asked: CIMultiDictProxy[str]) -> HttpAnswer:
    headers = {"etag": file.etag, "accept-ranges": "bytes", **file.headers}
    if file.content_type.startswith("text/html"):
        headers["content-security-policy"] = DEFAULT_CSP
    known = {tag.strip() for tag in asked.get("if-none-match", "").split(",")}
    if file.etag in known or "*" in known:
        return HttpAnswer(status=304, headers=headers)
    headers |= {"content-type": file.content_type, "x-content-type-options": "nosniff"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("range", ""))
    if wanted is None or asked.get("if-range", file.etag) != file.etag:
        return HttpAnswer(headers=headers, body=file.body)
    size = len(file.body)
    first, last = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
    if first > last:
        unsatisfied = headers | {"content-range": f"bytes */{size}"}
        return HttpAnswer(status=416, headers=unsatisfied, body=b"no such range")
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return HttpAnswer(status=206, headers=headers, body=file.body[first : last + 1])


def _respond(answer: Answer) -> web.Response:
    if isinstance(answer, Envelope):
        answer = HttpAnswer(headers={"content-type": "application/json"}, body=answer.encode())
    headers = {"cache-control": IMMUTABLE, **answer.headers}
    return web.Response(status=answer.status, headers=headers, body=answer.body)
