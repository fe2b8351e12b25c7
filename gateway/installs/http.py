"""Installs as the host application's registry knows them.

`POST {base}/api/internal/ext-runner/install-config`, one question per extension and tenant
at a time. Answers are remembered for seconds, and for minutes while the registry is down;
that the registry was down is never remembered as "not installed".
"""

import asyncio
import time
from dataclasses import dataclass, replace

import aiohttp
import structlog
from yarl import URL

from backends.bounded_body import BodyTooLarge, read_at_most
from backends.bundles.errors import BundleError, BundleNotFound
from backends.bundles.store import BundleStore
from gateway.installs.contract import (
    ExtensionNotInstalled,
    Install,
    Installs,
    RegistryUnavailable,
)
from gateway.installs.memory import Key, Memory, Remembered
from gateway.installs.registry_answer import parse_answer

MAX_ANSWER_BYTES = 1024 * 1024
MAX_NAME_LENGTH = 512

_CONNECTIONS = 32
_log = structlog.get_logger("installs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryBudgets:
    """How long to wait and to remember, in seconds."""

    connect_s: float = 0.75
    total_s: float = 2.0
    fresh_s: float = 5.0
    not_installed_s: float = 1.0
    stale_s: float = 300.0  # how old an answer may be while the registry is down
    retry_after_s: float = 1.0  # between questions about an extension while it is down
    remembered: int = 10_000


DEFAULT_BUDGETS = RegistryBudgets()


class RegistryInstalls:
    """Asks the registry and remembers what it said.

    Args:
        base_url: of the application, http(s); a path is kept.
        token: sent as x-runner-auth; never logged.
        store: where endpoints and labels are looked up, for the bundles that are there; the
            registry does not tell them, and without them they are not enforced.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str,
        store: BundleStore | None = None,
        budgets: RegistryBudgets = DEFAULT_BUDGETS,
    ) -> None:
        self._url = URL(f"{base_url.rstrip('/')}/api/internal/ext-runner/install-config")
        self._token = token
        self._store = store
        self._budgets = budgets
        self._memory = Memory(budgets.remembered)
        self._asking: dict[Key, asyncio.Task[Remembered]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def resolve(self, tenant_id: str, extension: str, /) -> Install:
        """See Installs.resolve."""
        known = self.known(tenant_id, extension)
        if known is not None:
            return known
        key = (tenant_id, extension.lower())
        if self._closed:
            raise RegistryUnavailable(reason="closed")
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_or_make_do(key), name="install-config")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        try:
            # One caller who leaves must not take the answer away from the others.
            return (await asyncio.shield(task)).value()
        except asyncio.CancelledError:
            if task.cancelled() and self._closed:
                raise RegistryUnavailable(reason="closed") from None
            raise

    def known(self, tenant_id: str, extension: str, /) -> Install | None:
        """See Installs.known."""
        key = (tenant_id, extension.lower())
        if max(map(len, key)) > MAX_NAME_LENGTH:
            raise ExtensionNotInstalled
        known = self._memory.get(key)
        return known.value() if known is not None and time.monotonic() < known.fresh_until else None

    async def all(self, tenant_id: str | None, /) -> tuple[Install, ...]:
        """The installs asked for lately: the registry has no list to ask for."""
        now = time.monotonic()
        installs = {
            one.install.install_id: one.install
            for one in self._memory
            if one.install is not None
            and now < one.usable_until
            and tenant_id in (None, one.install.tenant_id)
        }
        return tuple(installs.values())

    async def aclose(self) -> None:
        """Cancel what is being asked and close the connections."""
        self._closed = True
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _asked(self, key: Key, task: asyncio.Task[Remembered]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, though every caller may have left

    async def _ask_or_make_do(self, key: Key) -> Remembered:
        """Ask; while the registry is down an answer that is not too old will do."""
        budgets = self._budgets
        try:
            install = await self._ask(key)
        except ExtensionNotInstalled as error:
            until = time.monotonic() + budgets.not_installed_s
            answer = Remembered(
                install=None, reason=error.reason, fresh_until=until, usable_until=until
            )
        except RegistryUnavailable as error:
            known = self._memory.get(key)
            now = time.monotonic()
            if known is None or known.install is None or now >= known.usable_until:
                _log.warning("registry_unavailable", reason=error.reason)
                raise
            _log.warning("registry_unavailable", reason=error.reason, answered="stale")
            fresh_until = min(now + budgets.retry_after_s, known.usable_until)
            answer = replace(known, fresh_until=fresh_until)
        else:
            now = time.monotonic()
            answer = Remembered(
                install=await self._with_manifest(install),
                fresh_until=now + budgets.fresh_s,
                usable_until=now + budgets.stale_s,
            )
        self._memory.put(key, answer)
        return answer

    async def _ask(self, key: Key) -> Install:
        tenant_id, extension = key
        try:
            async with self._opened_session().post(
                self._url,
                json={"tenantId": tenant_id, "extensionId": extension},
                headers={"x-runner-auth": self._token, "accept-encoding": "identity"},
                allow_redirects=False,
            ) as answer:
                _require_found(answer.status)
                raw = await read_at_most(answer, MAX_ANSWER_BYTES)
        except BodyTooLarge:
            raise RegistryUnavailable(reason="answer_too_large") from None
        except TimeoutError as error:
            raise RegistryUnavailable(reason="timeout") from error
        except aiohttp.ClientError as error:
            raise RegistryUnavailable(reason=_reason(error)) from error
        return parse_answer(raw, tenant_id)

    async def _with_manifest(self, install: Install) -> Install:
        if self._store is None:
            return install
        try:
            bundle = await asyncio.to_thread(self._store.open, install.content_hash)
        except BundleNotFound:
            return install
        except BundleError as error:
            _log.warning("bundle_unusable", reason=error.reason, content_hash=install.content_hash)
            return install
        return replace(
            install, endpoints=bundle.manifest.endpoints, ui_label=bundle.manifest.ui_label
        )

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Questions are rare, so a kept connection would mostly be one that the other
                # side is just closing; and a fresh one holds no stray bytes.
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, force_close=True),
                timeout=aiohttp.ClientTimeout(
                    total=self._budgets.total_s, sock_connect=self._budgets.connect_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _require_found(status: int) -> None:
    match status:
        case 200:
            return
        case 404:
            raise ExtensionNotInstalled
        case 400:
            # The question's form never varies, so it is the caller's id that is no id.
            raise ExtensionNotInstalled("malformed_id")
        case 401 | 403:
            raise RegistryUnavailable(reason="credentials_refused")
    raise RegistryUnavailable(reason=f"unexpected_status_{status}")


def _reason(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "name_not_resolved"
        case aiohttp.ClientSSLError():
            return "tls_failed"
        case aiohttp.ClientConnectorError():
            return "connect_failed"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "connection_lost"
    return "invalid_answer"


_guard: type[Installs] = RegistryInstalls
