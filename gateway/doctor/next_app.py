"""The Next.js app in front: does it lead here, in the right order, with enough patience?"""

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.doctor.listener import localhost_addresses
from gateway.doctor.next_config import (
    NAMES,
    Address,
    NextConfig,
    Unknown,
    find_config,
    read_config,
)

PROXY_TIMEOUT_MS: Final = 30_000  # Next's own, when nothing is said
MAX_BODY_BYTES: Final = 10 << 20  # likewise
_HANDLERS: Final = "/api/ext"
_SHADOWS: Final = ("app", "src/app", "pages", "src/pages", "public")


async def check(case: Case) -> Sequence[Finding]:
    folder = case.app_dir or Path()
    file = await asyncio.to_thread(find_config, folder)
    if file is None:
        if case.app_dir is None:
            return []
        why = "Next's own settings hold, and nothing leads to the gateway"
        fix = "add next.config.mjs with the two rewrites of docs/nextjs.md"
        return [failed("next", f"no {NAMES[0]} (.mjs, .ts) in {folder}", why, fix)]
    pages = case.settings.public_base
    relative = pages.startswith("/")
    prefixes = (_HANDLERS, pages) if relative else (_HANDLERS,)
    try:
        config = await asyncio.to_thread(read_config, file, case.environ)
    except (OSError, ValueError) as unreadable:
        why = f"it could not be read ({type(unreadable).__name__})"
        return [warning("next", f"{file} was not checked", why, "see docs/nextjs.md")]
    first = (await localhost_addresses())[:1]
    return [
        *_rewrites(config, prefixes, folder),
        *_destination(config, case, first),
        *_base_path(config, case),
        *_patience(config, case),
        *_bodies(config, case),
        *_compression(config),
    ]


def _rewrites(config: NextConfig, prefixes: tuple[str, ...], folder: Path) -> Iterator[Finding]:
    base = config.base_path if isinstance(config.base_path, str) else ""
    # Below a base path Next adds it to the sources itself.
    found = {
        each: config.rewrites(each) or config.rewrites(each.removeprefix(base)) for each in prefixes
    }
    for prefix, known in found.items():
        own = _own(folder, prefix)
        if not known and own is None:
            why = "the browser's requests do not reach the gateway"
            fix = f"add a rewrite of {prefix}/:path* to the gateway: docs/nextjs.md"
            yield failed(
                "next", f"no rewrite of {prefix} was found in {config.file.name}", why, fix
            )
        elif known and own is not None and not config.before_files:
            why = "it comes first, so the rewrite is never reached"
            yield failed("next", f"{own} shadows {prefix}", why, "put the rewrite in beforeFiles")
    rewritten = [prefix for prefix, known in found.items() if known]
    if rewritten and not config.before_files:
        yield warning(
            "next",
            "the rewrites are not in beforeFiles",
            "a page or a file of the app can take a path away from the gateway",
            "return { beforeFiles: [...] } from rewrites()",
        )
    elif rewritten:
        yield ok("next", f"{', '.join(rewritten)}: rewritten before files")


def _own(folder: Path, prefix: str) -> Path | None:
    """A route or file of the app itself under that path."""
    places = (Path(root) / prefix.strip("/") for root in _SHADOWS)
    return next((place for place in places if (folder / place).exists()), None)


def _destination(config: NextConfig, case: Case, localhost: list[str]) -> Iterator[Finding]:
    port = case.settings.listen.port
    near = [each for each in config.addresses if _is_here(each, case)]
    if not near:
        yield warning(
            "next",
            f"where the rewrites of {config.file.name} lead could not be read",
            "the address is worked out, or is another machine's",
            f"see that it is the gateway's, {case.listener[0]}:{port}",
        )
        return
    right = [each for each in near if each.port == port]
    if not right and port != 0:
        ports = ", ".join(sorted({str(each.port) for each in near}))
        why = f"the gateway listens on {port}"
        fix = f"let the rewrites lead to {port}, or set GATEWAY_PORT"
        yield failed("next", f"the rewrites lead to port {ports}", why, fix)
        return
    scheme = "http" if case.settings.listen.tls_cert is None else "https"
    if right and all(each.scheme != scheme for each in right):
        why = f"the gateway speaks {scheme} there"
        yield failed("next", f"the rewrites do not say {scheme}://", why, f"write {scheme}://")
    listens_on = case.listener[0]
    if any(each.host == "localhost" for each in right) and localhost not in ([], [listens_on]):
        why = f"it is {localhost[0]} first here, and the gateway listens on {listens_on}"
        yield warning("next", "the rewrites lead to localhost", why, f"write {listens_on}")


def _is_here(address: Address, case: Case) -> bool:
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host in {"localhost", case.settings.listen.host}


def _base_path(config: NextConfig, case: Case) -> Iterator[Finding]:
    if isinstance(config.base_path, Unknown):
        yield _unread(config, "basePath")
    base, public = config.base_path, case.settings.public_base
    if not isinstance(base, str) or not base or config.ignores_base_path:
        return
    if public.startswith("/") and not public.startswith(f"{base}/"):
        yield failed(
            "next",
            f"the app lives under {base}, extension pages under {public}",
            "Next puts its base path before the source of every rewrite",
            f"set RUNNER_PUBLIC_BASE={base}{public}, or basePath: false in both rewrites",
        )


def _patience(config: NextConfig, case: Case) -> Iterator[Finding]:
    told = config.proxy_timeout_ms
    if isinstance(told, Unknown):
        yield _unread(config, "proxyTimeout")
        return
    budget_ms = round(case.settings.timeout_s * 1000)
    limit_ms = PROXY_TIMEOUT_MS if told is None else told
    if limit_ms > budget_ms:
        yield ok("next", f"proxyTimeout {limit_ms} ms is above the budget of {budget_ms} ms")
        return
    yield warning(
        "next",
        f"proxyTimeout is {limit_ms} ms{' by default' if told is None else ''}",
        f"at EXT_GATEWAY_TIMEOUT_MS={budget_ms} a slow call ends as Next's plain 500",
        f"experimental: {{ proxyTimeout: {budget_ms + 5000} }}",
    )


def _bodies(config: NextConfig, case: Case) -> Iterator[Finding]:
    told = config.max_body_bytes
    if isinstance(told, Unknown):
        yield _unread(config, "proxyClientMaxBodySize")
        return
    ours = case.settings.max_body_bytes
    limit = MAX_BODY_BYTES if told is None else told
    if limit > ours:
        yield ok("next", f"proxyClientMaxBodySize {limit} is above GATEWAY_MAX_BODY_BYTES")
        return
    yield failed(
        "next",
        f"proxyClientMaxBodySize is {limit} bytes{' by default' if told is None else ''}",
        "Next cuts longer uploads there, and the half that is left can look complete",
        f'experimental: {{ proxyClientMaxBodySize: "{ours // (1 << 20) + 1}mb" }}',
    )


def _compression(config: NextConfig) -> Iterator[Finding]:
    if isinstance(config.compress, Unknown):
        yield _unread(config, "compress")
    elif config.compress is not False:
        yield ok("next", "compress is on; event streams leave the gateway as no-transform")


def _unread(config: NextConfig, key: str) -> Finding:
    why = "its value is worked out, and only Node could say what it is"
    return warning("next", f"{key} in {config.file.name} could not be read", why, "docs/nextjs.md")
