"""What crosses the gateway, in each direction: one firewall, by trust tier.

Pure. Three senders, three levels of trust: the client is believed in nothing but what is on
a short list; this gateway sets what a runner must hear; a runner is believed in what its
protocol gives it and nothing of its transport.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from backends.contract import AssetRequest, ExecuteRequest, Pairs

CLIENT_TO_GUEST = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "user-agent"}
)
"""Client fields that a guest may see. The ids beside them are the gateway's to set."""

CLIENT_TO_ASSET = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "user-agent",
    }
)
"""Client fields that matter to a UI file."""

_RANGE_FIELDS = frozenset({"if-range", "range"})

ASSET_TO_CLIENT = frozenset(
    {
        "accept-ranges",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-security-policy",
        "content-type",
        "etag",
        "last-modified",
        "location",
        "vary",
        "x-content-type-options",
    }
)
"""Fields of a runner's answer to a UI file that a browser gets to see."""

GUEST_TO_CLIENT = frozenset({"content-type", "cache-control", "etag"})
"""Fields of a guest's envelope that a caller gets to see, besides x-ext-*."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that speak of one connection only (RFC 9110 section 7.6.1)."""

# Envoy, activator and queue-proxy answer these agents themselves, never the runner.
_PROBE_AGENT = re.compile(r"kube-probe/|knative-[a-z]+-probe|k-network-probe", re.IGNORECASE)
_FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_MAX_GUEST_NAME = 256
_MAX_GUEST_VALUE = 8190
_MAX_GUEST_HEAD = 32 * 1024
_FEW = 3  # so many fields are within _MAX_GUEST_HEAD, however long they are
_CACHED_NAME = 64  # characters of a guest's field name: longer ones would fill the cache


def end_to_end(headers: Iterable[tuple[str, str]], *, among: frozenset[str] | None = None) -> Pairs:
    """Drop the fields that speak only of this hop.

    Args:
        headers: (name, value) pairs in wire order; names in any case.
        among: drop every field that is not one of these, too; in lower case.

    Returns:
        The same pairs in the same order, names in lower case, without the fixed hop-by-hop
        set and without every field that a Connection field names. Never raises.

    Source:
        RFC 9110 section 7.6.1: remove both before forwarding.

    >>> end_to_end((("Connection", "X-Trace"), ("X-Trace", "1"), ("Accept", "*/*")))
    (('accept', '*/*'),)
    """
    kept = []
    named: frozenset[str] = frozenset()
    for name, value in headers:
        lowered = name.lower()
        if lowered == "connection":
            named |= _named_by(value)
        elif (among is None or lowered in among) and lowered not in HOP_BY_HOP:
            kept.append((lowered, value))
    if named:  # by whichever of the Connection fields, before or behind
        kept = [pair for pair in kept if pair[0] not in named]
    return tuple(kept)


@lru_cache(maxsize=256)
def _named_by(connection: str) -> frozenset[str]:
    """The fields that a Connection field names, besides those that never cross anyway."""
    return frozenset(token.strip().lower() for token in connection.split(",")) - HOP_BY_HOP


def client_to_guest(headers: Iterable[tuple[str, str]]) -> Pairs:
    """What a guest hears of the client's own fields: an allow-list, repeats joined.

    Authorization, cookies, forwarding, tenant, runner, API-key and Knative control fields
    are not on it, and neither is any spelling of them with "_" for "-".

    >>> client_to_guest((("Accept", "a/b"), ("ACCEPT", "c/d"), ("Cookie", "s=1")))
    (('accept', 'a/b, c/d'),)
    """
    return _only(headers, CLIENT_TO_GUEST)


def client_to_asset(headers: Iterable[tuple[str, str]]) -> Pairs:
    """What a runner hears of the client's own fields when a UI file is fetched."""
    return _only(headers, CLIENT_TO_ASSET)


def _only(headers: Iterable[tuple[str, str]], allowed: frozenset[str]) -> Pairs:
    kept: dict[str, str] = {}
    named: frozenset[str] = frozenset()
    for raw_name, value in headers:
        name = raw_name.lower()
        if name not in allowed:
            if name == "connection":
                named |= _named_by(value)
            continue
        if not _is_field_value(value):
            continue
        if name == "user-agent" and _is_probe(value):
            continue
        kept[name] = f"{kept[name]}, {value}" if name in kept else value
    for name in named & kept.keys():  # fields of this hop only, whatever they are
        del kept[name]
    return tuple(kept.items())


@lru_cache(maxsize=256)
def _is_probe(agent: str) -> bool:
    return _PROBE_AGENT.search(agent) is not None


def to_runner(request: ExecuteRequest) -> Pairs:
    """The fields of POST /v1/execute, all of them set here, less those of `own_of`."""
    context = request.context
    return _execute_fields(
        context.tenant_id,
        context.extension_id,
        context.install_id,
        context.version_id,
        context.config_version,
        context.secrets_version,
        request.service_token,
    )


@lru_cache(maxsize=256)
def _execute_fields(
    tenant_id: str,
    extension_id: str,
    install_id: str | None,
    version_id: str | None,
    config_version: str | None,
    secrets_version: str | None,
    service_token: str | None,
) -> Pairs:
    return _present(
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-alga-tenant", tenant_id),
        ("x-alga-extension", extension_id),
        ("x-ext-install-id", install_id),
        ("x-ext-version-id", version_id),
        ("x-ext-registry-id", extension_id),
        ("x-ext-config-version", config_version),
        ("x-ext-secrets-version", secrets_version),
        ("x-runner-service-token", service_token),
    )


def own_of(request: ExecuteRequest | AssetRequest) -> Pairs:
    """The fields that differ from request to request, so that the others can be cached."""
    named = (("x-request-id", request.request_id),)
    key = request.idempotency_key if isinstance(request, ExecuteRequest) else None
    return (*named, ("x-idempotency-key", key)) if key else named


def asset_to_runner(request: AssetRequest) -> Pairs:
    """The fields of GET /ext-ui/...: the client's conditional ones and the gateway's own, less
    those of `own_of`.

    A HEAD is asked without its Range: none is defined for it (RFC 9110 section 14.2), and not
    every runner ignores it.
    """
    headers = request.headers
    if request.method == "HEAD":
        headers = tuple(pair for pair in headers if pair[0] not in _RANGE_FIELDS)
    return headers + _asset_fields(request.tenant_id, request.extension_id, request.service_token)


@lru_cache(maxsize=256)
def _asset_fields(tenant_id: str | None, extension_id: str, service_token: str | None) -> Pairs:
    return _present(
        ("x-tenant-id", tenant_id),
        ("x-alga-tenant", tenant_id),
        ("x-alga-extension", extension_id),
        ("x-runner-service-token", service_token),
    )


def warmup_to_runner(page: AssetRequest) -> Pairs:
    """The fields of POST /warmup: the gateway's own alone, less those of `own_of`."""
    return _present(
        ("content-type", "application/json"),
        ("x-alga-tenant", page.tenant_id),
        ("x-alga-extension", page.extension_id),
        ("x-runner-service-token", page.service_token),
    )


def knock_to_runner(service_token: str | None) -> Pairs:
    """The fields of a knock, a POST /v1/execute that names no tenant and no extension: without
    them a runner has nothing to run."""
    return _present(("content-type", "application/json"), ("x-runner-service-token", service_token))


def asset_from_runner(headers: Pairs) -> Pairs:
    """What a browser hears of a runner's answer to a UI file.

    Never Set-Cookie, never Cache-Control (the gateway decides it), never hop-by-hop.

    Args:
        headers: names in lower case.
    """
    kept = []
    for pair in headers:
        if pair[0] in ASSET_TO_CLIENT:
            kept.append(pair)
        elif pair[0] == "connection" and _named_by(pair[1]):
            return end_to_end(headers, among=ASSET_TO_CLIENT)
    return tuple(kept)


def guest_to_client(headers: Iterable[tuple[str, str]]) -> Pairs:
    """What a caller hears of the fields that a guest put into its envelope.

    A name or value that HTTP could not carry is dropped, never repaired: a guest must not be
    able to write a second header or a second response (RFC 9110 section 5.5). Of a name that
    comes twice, in whatever case, the last one counts. What is beyond 32 KiB is dropped.

    >>> guest_to_client((("ETag", '"1"'), ("X-Ext-Note", "a"), ("x-ext-bad", "a\\r\\nb: c")))
    (('etag', '"1"'), ('x-ext-note', 'a'))
    >>> guest_to_client((("etag", '"1"'), ("ETag", '"2"'), ("content-type", "")))
    (('etag', '"2"'),)
    """
    kept: dict[str, str] = {}
    for name, value in headers:
        lowered = (_cached_guest_name if len(name) <= _CACHED_NAME else _guest_name)(name)
        if not lowered:
            continue
        if _is_guest_value(lowered, value):
            kept[lowered] = value
        else:
            kept.pop(lowered, None)  # the last one counts, and says nothing
    return tuple(kept.items() if len(kept) <= _FEW else _within_head(kept))


def _within_head(fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """As many of the first as clients take: most refuse a head beyond 64 KiB, some beyond 16."""
    left = _MAX_GUEST_HEAD
    for name, value in fields.items():
        left -= len(name) + len(value) + len(": \r\n")
        if left < 0:
            return
        yield name, value


def _is_guest_value(name: str, value: str) -> bool:
    """Whether a guest's field may have this value: an empty one only where that says something."""
    if len(value) > _MAX_GUEST_VALUE or not _is_field_value(value):
        return False
    return bool(value.strip()) or name not in GUEST_TO_CLIENT


def _is_field_value(value: str) -> bool:
    plain = value.isascii() and value.isprintable()  # almost always, and cheaper to tell
    return plain or _FIELD_VALUE.fullmatch(value) is not None


def _guest_name(name: str) -> str:
    """The name in lower case of a field that a guest may set; else empty."""
    if len(name) > _MAX_GUEST_NAME or not name.isascii():  # a Kelvin sign would become a k
        return ""
    lowered = name.lower()
    is_own = lowered.startswith("x-ext-") and _FIELD_NAME.fullmatch(lowered) is not None
    return lowered if is_own or lowered in GUEST_TO_CLIENT else ""


_cached_guest_name = lru_cache(maxsize=512)(_guest_name)  # extensions use a few, again and again


def _present(*fields: tuple[str, str | None]) -> Pairs:
    return tuple([field for field in fields if field[1]])  # type: ignore[misc]  # seen just now
