"""The address of an extension's page."""

import re
from urllib.parse import quote, urlencode

_CONTENT_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE | re.ASCII)


def is_content_hash(text: str) -> bool:
    """Whether `text` is "sha256:" and 64 hex digits.

    >>> is_content_hash("sha256:" + "a" * 64), is_content_hash("sha256:ab")
    (True, False)
    """
    return _CONTENT_HASH.fullmatch(text) is not None


def build_ui_url(
    public_base: str,
    extension_id: str,
    content_hash: str,
    client_path: str = "/",
    *,
    tenant_id: str | None = None,
) -> str:
    """Join base, bundle and query into the iframe's address.

    Args:
        public_base: relative ("/runner") or absolute; trailing slashes are dropped.
        client_path: the page inside the extension's own router.

    Raises:
        ValueError: the content hash is not "sha256:" and 64 hex digits.

    >>> build_ui_url("/runner/", "ext-1", "sha256:" + "a" * 64)[:36]
    '/runner/ext-ui/ext-1/sha256%3Aaaaaaa'
    """
    if not is_content_hash(content_hash):
        raise ValueError("Invalid content hash; expected format 'sha256:<hex64>'")
    query = {"path": client_path or "/"}
    if tenant_id:
        query["tenant"] = tenant_id
    query["extensionId"] = extension_id
    return (
        f"{public_base.rstrip('/')}/ext-ui/{quote(extension_id, safe='')}/"
        f"{quote(content_hash, safe='')}/index.html?{urlencode(query)}"
    )
