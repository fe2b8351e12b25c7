"""The forms a variable's text may take, each with the words that tell an operator to write it.

A refusal never repeats the text: it may be a secret, or an address with a password inside.
"""

import ipaddress
import re
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from backends.contract import is_identifier
from backends.upstream.address import RunnerAddress
from gateway.variables.marks import Accepts, Secret
from gateway.variables.problems import refuse

MAX_WORKERS: Final = 64

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,8192}")
_FIELD_VALUE = re.compile(r"[\x20-\x7e]{1,8192}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _whole_number(text: object) -> object:
    # int() and pydantic also take "1_000", " 7 " and "7.0", which no other tool reads alike.
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text) is None:
        if text.startswith(("tcp://", "udp://")):
            raise refuse(
                "holds an address that Kubernetes writes for a Service of that name"
                " (enableServiceLinks: false in the pod stops it)"
            )
        raise refuse("is not a whole number")
    return text


def _worker_count(text: object) -> object:
    if isinstance(text, str) and text.lower() == "auto":
        return "auto"
    count = _whole_number(text)
    if isinstance(count, str | int) and not 1 <= int(count) <= MAX_WORKERS:
        raise refuse(f"is not between 1 and {MAX_WORKERS}")
    return int(count) if isinstance(count, str) else count


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _split_http_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise refuse("is not a URL") from None
    if url.scheme not in _DEFAULT_PORTS:
        raise refuse("does not begin with http:// or https://")
    if not url.hostname or port == 0 or VISIBLE_ASCII.fullmatch(text) is None or "\\" in text:
        raise refuse("has no usable host")
    if "@" in url.netloc:
        raise refuse("holds a user name or a password")
    if "?" in text or "#" in text:
        raise refuse("holds a query or a fragment")
    return url


def _http_url(text: str) -> str:
    _split_http_url(text)
    return text.rstrip("/")


def _runner_url(text: str) -> str:
    url = _http_url(text)
    try:
        RunnerAddress.parse(url)
    except ValueError as malformed:
        raise refuse(str(malformed).removeprefix("the runner's base URL ")) from None
    return url


def _public_base(text: str) -> str:
    if not text.startswith("/"):
        return _http_url(text)
    if text.startswith("//") or "\\" in text or VISIBLE_ASCII.fullmatch(text) is None:
        raise refuse("is not a path on this host")
    if "?" in text or "#" in text or {".", ".."} & set(text.split("/")):
        raise refuse("holds a query, a fragment or a dot segment")
    return text.rstrip("/") or "/"


def _origin(text: str) -> str:
    """The serialisation a browser sends: RFC 6454 section 6.2, without the default port."""
    if text == "*":
        raise refuse("'*' would let every site read answers")
    url = _split_http_url(text.lower())
    if url.path:
        raise refuse("holds a path")
    if url.port == _DEFAULT_PORTS[url.scheme]:
        return f"{url.scheme}://{url.netloc.rpartition(':')[0]}"
    return f"{url.scheme}://{url.netloc}"


def split_items(text: object) -> object:
    """A list that was written with commas or white space between."""
    return tuple(text.replace(",", " ").split()) if isinstance(text, str) else text


def _origins(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({_origin(item) for item in items}))


def _egress_hosts(items: tuple[str, ...]) -> tuple[str, ...]:
    hosts = [item.lower().removeprefix(".") for item in items]
    if any("*" in host for host in hosts):
        raise refuse("holds '*'; a host already stands for its subdomains")
    if not all(is_host(host) for host in hosts):
        raise refuse("holds something that is not a host name")
    return tuple(dict.fromkeys(hosts))


def is_host(text: str) -> bool:
    """Whether this is an IP address, IPv6 without brackets, or a host's name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text.lower()) is not None
    return True


def _listen_host(text: str) -> str:
    if not is_host(text):
        raise refuse("is neither an address nor a host name")
    return text


def _authority(text: str) -> str:
    name, colon, port = text.partition(":")
    if not is_host(name) or (colon and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise refuse("is not a host name, with or without a port")
    return text.lower()


def _dns_label(text: str) -> str:
    if _DNS_LABEL.fullmatch(text) is None:
        raise refuse("is not a name that Kubernetes takes (RFC 1123)")
    return text


def _tenant(text: str) -> str:
    if not is_identifier(text):
        raise refuse("holds characters that an identifier cannot have, or is too long")
    return text


def _token(text: str) -> str:
    if VISIBLE_ASCII.fullmatch(text) is None:
        raise refuse("holds characters that a header field cannot carry, or is too long")
    return text


def _field_value(text: str) -> str:
    if _FIELD_VALUE.fullmatch(text) is None:
        raise refuse("holds characters that a header field cannot carry, or is too long")
    return text


Whole = Annotated[int, BeforeValidator(_whole_number)]
Word = BeforeValidator(_lower)
Port = Annotated[Whole, Field(le=65535), Accepts("a port number, 0 to 65535")]
Milliseconds = Annotated[
    Whole, Field(ge=1, le=3_600_000), Accepts("whole milliseconds, 1 to 3600000")
]
Seconds = Annotated[Whole, Field(le=3600), Accepts("whole seconds, 0 to 3600")]
Count = Annotated[Whole, Field(ge=1, le=100_000), Accepts("a whole number, 1 to 100000")]
Threads = Annotated[Whole, Field(ge=1, le=1024), Accepts("a whole number, 1 to 1024")]
WorkerCount = Annotated[
    int | Literal["auto"],
    BeforeValidator(_worker_count),
    Accepts(f"a whole number, 1 to {MAX_WORKERS}, or auto (one for each core it may use)"),
]
ProcessCount = Annotated[Whole, Field(le=64), Accepts("a whole number, 0 to 64")]
QueueLength = Annotated[Whole, Field(le=100_000), Accepts("a whole number, 0 to 100000")]
Megabytes = Annotated[Whole, Field(ge=1, le=4096), Accepts("whole MiB, 1 to 4096")]
Bytes = Annotated[Whole, Field(ge=1, le=1 << 30), Accepts("whole bytes, 1 to 1073741824")]

HttpUrl = Annotated[
    str, AfterValidator(_http_url), Accepts("http(s)://host[:port][/base], nothing else")
]
RunnerUrl = Annotated[
    str, AfterValidator(_runner_url), Accepts("http(s)://host[:port][/base], nothing else")
]
PublicBase = Annotated[
    str, AfterValidator(_public_base), Accepts("a path such as /runner, or http(s)://host[/base]")
]
Origins = Annotated[
    tuple[str, ...],
    BeforeValidator(split_items),
    AfterValidator(_origins),
    Accepts("origins such as https://app.example, separated by commas"),
]
EgressHosts = Annotated[
    tuple[str, ...],
    BeforeValidator(split_items),
    AfterValidator(_egress_hosts),
    Accepts("host names, separated by commas"),
]
ListenHost = Annotated[
    str, AfterValidator(_listen_host), Accepts("an IP address (IPv6 without brackets) or a name")
]
DnsLabel = Annotated[
    str, AfterValidator(_dns_label), Accepts("a Kubernetes name: a-z, 0-9 and -, at most 63")
]
Authority = Annotated[str, AfterValidator(_authority), Accepts("a host name, or host:port")]
Tenant = Annotated[
    str, AfterValidator(_tenant), Accepts("1 to 128 letters, digits, dots, dashes, underscores")
]
Token = Annotated[
    str, AfterValidator(_token), Secret(), Accepts("visible ASCII characters, at most 8192")
]
FieldValue = Annotated[str, AfterValidator(_field_value), Accepts("printable ASCII, one line")]
