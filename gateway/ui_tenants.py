"""For which tenant an iframe asks: a browser's iframe can send no key.

Whoever resolved the page's address was a known caller, so the address carries that caller's
tenant as a signed, expiring value. The page's scripts and styles repeat no query, so what a
valid value said is remembered for the bundle it was made for.
"""

import time
from collections import OrderedDict

from itsdangerous import BadData, URLSafeTimedSerializer

PARAMETER = "_ext"
LIFETIME_S = 12 * 3600
REMEMBERED = 10_000


class UiTenants:
    """Signs and verifies tenants in page addresses.

    Args:
        key: the signing secret; every replica of one gateway needs the same.
    """

    def __init__(self, key: str) -> None:
        self._signer = URLSafeTimedSerializer(key, salt="extension-ui-tenant")
        self._remembered: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def sign(self, tenant_id: str, extension_id: str, content_hash: str) -> str:
        """A value that says: this tenant may see this bundle of this extension."""
        return str(self._signer.dumps([tenant_id, extension_id, content_hash]))

    def verify(self, value: str, extension_id: str, content_hash: str) -> str | None:
        """The tenant that `value` was signed for, if it is about this very bundle."""
        try:
            said = self._signer.loads(value, max_age=LIFETIME_S)
        except BadData:
            return None
        match said:
            case [str(tenant_id), str(extension), str(bundle)] if (extension, bundle) == (
                extension_id,
                content_hash,
            ):
                self._remember(extension_id, content_hash, tenant_id)
                return tenant_id
        return None

    def remembered(self, extension_id: str, content_hash: str) -> str | None:
        """The tenant that a valid value last named for this bundle, until it expires."""
        known = self._remembered.get((extension_id, content_hash))
        if known is None or known[1] < time.monotonic():
            return None
        return known[0]

    def _remember(self, extension_id: str, content_hash: str, tenant_id: str) -> None:
        bundle = (extension_id, content_hash)
        self._remembered[bundle] = (tenant_id, time.monotonic() + LIFETIME_S)
        self._remembered.move_to_end(bundle)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
