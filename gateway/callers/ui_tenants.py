"""For which tenant an iframe asks: a browser's iframe can send no key.

Whoever resolved the page's address was a known caller, so the address carries that caller's
tenant as a signed, expiring value. The page's scripts and styles repeat no query; for them
the same value comes back as a cookie (RFC 6265) of this one bundle's addresses. Nothing is
remembered for that, so any worker and any replica with the same key can serve any file.

A page in a sandbox has no origin, and browsers send no cookie for its files. Where sandboxes
are switched on, what a page's address said is remembered by the process that served it, and
by the others of its fleet.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import quote_plus, urlsplit

from aiohttp import hdrs, web
from itsdangerous import BadData, URLSafeTimedSerializer

from backends.contract import Pairs
from backends.memo import Memo
from gateway.settings import Settings

PARAMETER: Final = "_ext"
COOKIE: Final = "ext-ui-tenant"
LIFETIME_S: Final = 12 * 3600
CLOCK_SKEW_S: Final = 60
"""How far ahead the clock of whoever signed may be: another replica's, or this machine's own before
it was set."""
GRACE_S: Final = 10 * 60
"""How long a key still counts that was replaced, for the pages that are open. No longer, for it
may have been replaced because others have it; and what they sign bears any date they like."""
KEYS_KEPT: Final = 4
MAX_BELIEVED: Final = 4096
REMEMBERED: Final = 10_000

UI_COOKIE: web.RequestKey[Pairs] = web.RequestKey("ui_cookie")
"""Fields that the answer to a page gives the browser for the page's other files."""


class UiTenants:
    """Signs and verifies tenants in page addresses and cookies.

    Args:
        key: the signing secret; every worker and replica of one gateway needs the same. None:
            one that nobody else has, which will do for whoever is alone.
        on_remembered: told what is remembered here, for other processes to `note`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        key: str | None,
        *,
        on_remembered: Callable[[str, str, str], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_remembered = on_remembered
        self._clock = clock
        self._key = key
        self._signer = _signer(key)
        # All files of a page bring the same value, and reading it costs more than a small file.
        self._believed: Memo[str, _Believed] = Memo(MAX_BELIEVED)
        self._replaced: list[_Replaced] = []  # newest first
        self._remembered: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def follow(self, key: str | None) -> None:
        """Sign with `key` from now on.

        What the one before has signed until now counts for GRACE_S more, and so does what was
        remembered on its word.
        """
        if key == self._key:
            return
        until = self._clock() + GRACE_S
        self._replaced.insert(0, _Replaced(self._signer, time.time(), until))
        del self._replaced[KEYS_KEPT:]
        self._key, self._signer = key, _signer(key)
        self._believed.clear()
        for bundle, (tenant_id, expires) in self._remembered.items():
            self._remembered[bundle] = (tenant_id, min(expires, until))

    def sign(self, tenant_id: str, extension_id: str, content_hash: str) -> str:
        """A value that says: this tenant may see this bundle of this extension."""
        return str(self._signer.dumps([tenant_id, extension_id, content_hash]))

    def signed_url(self, url: str, tenant_id: str, extension_id: str, content_hash: str) -> str:
        """The address of this bundle's page, with the value that says whose page it is."""
        signed = self.sign(tenant_id, extension_id, content_hash)
        return f"{url}&{PARAMETER}={quote_plus(signed)}"

    def verify(self, value: str, extension_id: str, content_hash: str) -> str | None:
        """The tenant that `value` was signed for, if it is about this very bundle."""
        believed = self._believed.get(value)
        if believed is None or believed.until <= time.time():
            believed = self._read(value)
        if believed is None or believed.bundle != (extension_id, content_hash):
            return None
        return believed.tenant_id

    def _read(self, value: str) -> "_Believed | None":
        if not value.isascii():
            return None  # none of ours, and the library would fail to encode half a character
        read = _loaded(self._signer, value)
        if read is not None:
            return self._believed.keep(value, read)
        now = self._clock()
        for old in self._replaced:
            read = _loaded(old.signer, value)
            if read is not None:
                if old.until <= now or read.signed_at > old.replaced_at:
                    return None
                until = min(read.until, time.time() + old.until - now)
                return self._believed.keep(value, read._replace(until=until))
        return None

    def remember(self, tenant_id: str, extension_id: str, content_hash: str) -> None:
        """A page of this bundle is served to this tenant, in a sandbox."""
        self._on_remembered(tenant_id, extension_id, content_hash)
        self.note(tenant_id, extension_id, content_hash)

    def note(self, tenant_id: str, extension_id: str, content_hash: str) -> None:
        """Another process serves such a page."""
        bundle = (extension_id, content_hash)
        self._remembered[bundle] = (tenant_id, self._clock() + LIFETIME_S)
        self._remembered.move_to_end(bundle)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def remembered(self, extension_id: str, content_hash: str) -> str | None:
        """To whom a sandboxed page of this bundle was last served."""
        tenant_id, until = self._remembered.get((extension_id, content_hash), (None, 0.0))
        return tenant_id if until > self._clock() else None


class _Believed(NamedTuple):
    """What a valid value says. Times are seconds since the epoch."""

    tenant_id: str
    bundle: tuple[str, str]  # extension, content hash
    signed_at: float
    until: float


class _Replaced(NamedTuple):
    """What verifies a key that is not signed with any more."""

    signer: URLSafeTimedSerializer
    replaced_at: float  # seconds since the epoch
    until: float  # on the given clock


def _signer(key: str | None) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key or secrets.token_urlsafe(), salt="extension-ui-tenant")


def _loaded(signer: URLSafeTimedSerializer, value: str) -> _Believed | None:
    try:
        # With an age the library would refuse what is from the future, be it by a moment.
        said, dated = signer.loads(value, return_timestamp=True)
    except BadData:
        return None
    at = dated.timestamp()
    if not -CLOCK_SKEW_S <= time.time() - at <= LIFETIME_S:
        return None
    match said:
        case [str(tenant_id), str(extension), str(bundle)]:
            return _Believed(tenant_id, (extension, bundle), at, at + LIFETIME_S)
    return None


def value_in_cookies(fields: Iterable[tuple[str, str]]) -> str:
    """The value that a page's file brings back; "" when it brings none.

    Read without the library's parser: the app's own cookies come along with every file, and
    taking all of them apart costs more than the rest of a small request.

    Args:
        fields: of a request's header.
    """
    for name, field in fields:
        if name.lower() != "cookie":
            continue
        for pair in field.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == COOKIE:
                return value
    return ""


def page_cookie(request: web.BaseRequest, value: str, settings: Settings) -> Pairs:
    """The Set-Cookie fields by which the files beside a page will know their tenant.

    Browsers send no ordinary cookie for a page that another site frames. Such a page gets one
    that is marked for it; browsers keep those over HTTPS and on localhost only.

    Args:
        value: what the page's address carried, verified.
    """
    before, _, rest = request.raw_path.partition("/ext-ui/")
    bundle = "/ext-ui/" + "/".join(rest.split("/", 2)[:2]) + "/"
    # A proxy may map what browsers see to another path.
    seen_by_browsers = urlsplit(settings.public_base).path.rstrip("/")
    is_foreign = request.headers.get("Sec-Fetch-Site") == "cross-site"
    site = "SameSite=None; Secure; Partitioned" if is_foreign else "SameSite=Lax"
    return tuple(
        (
            hdrs.SET_COOKIE.lower(),
            f"{COOKIE}={value}; Path={path}{bundle}; Max-Age={LIFETIME_S}; HttpOnly; {site}",
        )
        for path in dict.fromkeys((before, seen_by_browsers))
    )
