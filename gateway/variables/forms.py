"""The forms a variable's text may take, each with the words that tell an operator to write it.

A refusal never repeats the text: it may be a secret, or an address with a password inside.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from backends.contract import is_identifier
from backends.files.token import TokenFile
from backends.upstream.address import RunnerAddress

MAX_SECRET_FILE_BYTES: Final = 64 * 1024
MAX_PEM_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_WORKERS: Final = 64

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,8192}")
_FIELD_VALUE = re.compile(r"[\x20-\x7e]{1,8192}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Accepts:
    """What to write, for error messages and the generated documentation."""

    text: str


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a variable whose value is shown to nobody."""


def refuse(problem: str) -> PydanticCustomError:
    """What a validator raises; `problem` goes on after the variable's name."""
    # The message is a template of its own: braces in it would be taken for places.
    return PydanticCustomError("refused", "{problem}", {"problem": problem})


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
    if not url.hostname or port == 0 or _VISIBLE_ASCII.fullmatch(text) is None or "\\" in text:
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
    if text.startswith("//") or "\\" in text or _VISIBLE_ASCII.fullmatch(text) is None:
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
        raise refuse("is not a tenant id")
    return text


def _token(text: str) -> str:
    if _VISIBLE_ASCII.fullmatch(text) is None:
        raise refuse("holds characters that a header field cannot carry, or is too long")
    return text


def _field_value(text: str) -> str:
    if _FIELD_VALUE.fullmatch(text) is None:
        raise refuse("holds characters that a header field cannot carry, or is too long")
    return text


def _readable(path: Path) -> Path:
    try:
        is_pipe = path.is_fifo()
        if not is_pipe:
            with path.open("rb") as file:
                file.read(1)
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "not a file name"
        raise refuse(f"names a file that cannot be read ({reason.lower()})") from None
    if is_pipe:
        raise refuse("names a pipe, which cannot be read again on reload")
    return path


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file and what it held when it was looked at: another content is another value."""

    path: Path
    fingerprint: str

    def __str__(self) -> str:
        return str(self.path)


def read_version(text: str) -> tuple[FileVersion, bytes]:
    """The file of that name as it is now, and what it holds. Raises PydanticCustomError."""
    path = _readable(Path(text))
    with path.open("rb") as file:
        content = file.read(MAX_PEM_FILE_BYTES)
    return FileVersion(path, hashlib.sha256(content).hexdigest()), content


def _file_version(text: object) -> object:
    return read_version(text)[0] if isinstance(text, str) else text


def _secret_file(path: Path) -> Path:
    read_secret(_readable(path))
    return path


def _token_file(text: object) -> object:
    if not isinstance(text, str):
        return text
    file = TokenFile(_secret_file(Path(text)))
    file.read()  # so that what it holds is masked in logs from the start
    return file


def read_secret(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        PydanticCustomError: too large, or not a token that a header field can carry.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_FILE_BYTES + 1)
    text = content.decode("latin-1").strip()
    if len(content) > MAX_SECRET_FILE_BYTES or _VISIBLE_ASCII.fullmatch(text) is None:
        raise refuse("names a file whose content is not one token")
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
ReadableFile = Annotated[Path, AfterValidator(_readable), Accepts("a file that can be read")]
PemFile = Annotated[
    FileVersion,
    BeforeValidator(_file_version),
    Accepts("a file that can be read; a reload sees that its content changed"),
]
SecretFile = Annotated[
    Path, AfterValidator(_secret_file), Accepts("a readable file that holds one token")
]
RenewedSecretFile = Annotated[
    TokenFile, BeforeValidator(_token_file), Accepts("a readable file that holds one token")
]
Folder = Annotated[Path, Accepts("a folder; made when missing")]
