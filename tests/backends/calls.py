"""Calls as a gateway makes them, for tests that care about one of their members."""

from dataclasses import replace
from typing import Any

from backends.contract import AssetRequest, ExecuteContext, ExecuteRequest, Limits

CONTENT_HASH = "sha256:" + "5a" * 32
EXTENSION = "ext-1"
TENANT = "tenant-1"

_EXECUTE = ExecuteRequest(
    request_id="req-1",
    context=ExecuteContext(
        tenant_id=TENANT,
        extension_id=EXTENSION,
        content_hash=CONTENT_HASH,
        install_id="install-1",
        version_id="version-1",
    ),
    method="POST",
    path="/echo",
    query=(("a", "1"),),
    headers=(("content-type", "text/plain"),),
    body=b"hello",
    limits=Limits(timeout_ms=5000),
    timeout_s=5.0,
)
_ASSET = AssetRequest(
    request_id="req-2",
    method="GET",
    extension_id=EXTENSION,
    content_hash=CONTENT_HASH,
    path="index.html",
    tenant_id=TENANT,
    timeout_s=5.0,
)


def execute_request(**changes: Any) -> ExecuteRequest:
    """A POST /echo with everything set; members by name replace those of the sample."""
    return replace(_EXECUTE, **changes)


def asset_request(path: str = "index.html", **changes: Any) -> AssetRequest:
    """A GET of one UI file; members by name replace those of the sample."""
    return replace(_ASSET, path=path, **changes)
