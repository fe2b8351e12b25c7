"""An identity provider: signs tokens, and serves the keys that they can be checked with."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

ISSUER = "https://id.example"
AUDIENCE = "extension-gateway"


class IdentityProvider:
    """Signs with ES256 and the newest of its keys.

    Attributes:
        asked: how often the keys were fetched.
        status: what it answers with; other than 200 it answers nothing else.
        padding: bytes that it puts in front of its answer.
        may_answer: cleared, it lets everybody wait.
        one_at_a_time: each answer clears `may_answer`.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.padding = b""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.one_at_a_time = False
        self._keys = {"first": generate_private_key(SECP256R1())}
        app = web.Application()
        app.router.add_get("/keys", self._answer)
        self._server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self._server.make_url("/keys"))

    @property
    def document(self) -> dict[str, Any]:
        """The JWK Set."""
        algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
        return {
            "keys": [
                {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
                for kid, key in self._keys.items()
            ]
        }

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and forget the ones before."""
        self._keys = {kid: generate_private_key(SECP256R1())}

    def token(self, **changed: object) -> str:
        """A token that is good for a minute; None takes a claim out."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 60,
            "tenant_id": "acme",
            "sub": "u1",
            **changed,
        }
        kid, key = list(self._keys.items())[-1]
        told = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(told, key, algorithm="ES256", headers={"kid": kid})

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        while not self.may_answer.is_set():
            await self.may_answer.wait()
        if self.one_at_a_time:
            self.may_answer.clear()
        if self.status != 200:
            raise web.HTTPFound("/elsewhere") if self.status == 302 else web.HTTPServiceUnavailable
        answer = web.json_response(self.document)
        assert isinstance(answer.body, bytes)
        return web.Response(body=self.padding + answer.body, content_type="application/json")

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.may_answer.set()
        await self._server.close()
