"""Why a bundle cannot be used."""


class BundleError(Exception):
    """A bundle cannot be used.

    Args:
        reason: one machine word for logs and metrics, such as "archive_hash_mismatch".
        detail: for the bundle's author, such as the name of the entry; escaped and bounded.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class BundleNotFound(BundleError):
    """No archive of that hash is in the folder."""


class BundleCorrupt(BundleError):
    """The archive's bytes are not those that its name promises."""


class BundleRejected(BundleError):
    """The archive breaks a rule of the bundle format."""
