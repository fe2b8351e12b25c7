"""What a gateway's process stands on: libraries, their fast parts, and file descriptors."""

import importlib.util
import resource
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import aiohttp
from aiohttp import http_parser

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning

AIOHTTP_FLOOR: Final = (3, 14, 5)
_CALLS_FILES: Final = 2  # a request holds its client's connection and one to the runner
_OWN_FILES: Final = 128  # sockets kept idle, logs, bundles


async def check(case: Case) -> Sequence[Finding]:
    return [*_aiohttp(), *_loop(), *_descriptors(case.settings.max_in_flight)]


def _aiohttp() -> Iterator[Finding]:
    version = aiohttp.__version__
    yield judged_version(version)
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        yield warning(
            "process",
            "aiohttp parses in Python",
            "its C parser is missing or switched off: several times slower",
            "unset AIOHTTP_NO_EXTENSIONS, or install aiohttp's binary wheel",
        )


def judged_version(version: str) -> Finding:
    """Whether this aiohttp is one that the gateway may be run on.

    >>> judged_version("3.14.6").level.value, judged_version("3.9.1").level.value
    ('ok', 'failed')
    """
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if numbers >= AIOHTTP_FLOOR:
        return ok("process", f"aiohttp {version}")
    floor = ".".join(map(str, AIOHTTP_FLOOR))
    return failed(
        "process",
        f"aiohttp {version} is too old",
        "it lets requests be smuggled and connections be confused",
        f'pip install "aiohttp>={floor},<4"',
    )


def _loop() -> Iterator[Finding]:
    if sys.platform != "win32" and importlib.util.find_spec("uvloop") is None:
        yield warning(
            "process",
            "uvloop is not installed",
            "the standard event loop serves about half as many requests",
            "pip install uvloop",
        )


def _descriptors(max_in_flight: int) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_in_flight * _CALLS_FILES + _OWN_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield ok("process", f"{soft} open files are allowed")
        return
    yield warning(
        "process",
        f"only {soft} open files are allowed",
        f"GATEWAY_MAX_IN_FLIGHT={max_in_flight} can need {wanted}; then connections are refused",
        f"ulimit -n {wanted} (LimitNOFILE= in a systemd unit), or lower GATEWAY_MAX_IN_FLIGHT",
    )
