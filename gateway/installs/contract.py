"""What a tenant's extension id means right now: the answer, and who can be asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from backends.bundles.manifest import Endpoint
from backends.contract import ExecuteContext, SecretEnvelope


@dataclass(frozen=True, kw_only=True)
class Install:
    """One extension of one tenant, resolved to the bundle that runs.

    `config` and `secret_envelope` stay out of repr: logs print values like this one.
    """

    tenant_id: str
    extension_slug: str | None  # "publisher.name", lower case
    install_id: str
    registry_id: str
    version_id: str
    version: str | None
    content_hash: str  # "sha256:" and 64 lower-case hex digits
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    config_version: str | None = None
    secrets_version: str | None = None
    providers: tuple[str, ...] = ()  # granted capabilities, such as "cap:http.fetch"
    secret_envelope: SecretEnvelope | None = field(default=None, repr=False)
    endpoints: tuple[Endpoint, ...] | None = None  # None: manifest unknown, so not enforced
    ui_label: str | None = None

    @cached_property
    def context(self) -> ExecuteContext:
        """What a call of this install tells the runner of it."""
        return ExecuteContext(
            tenant_id=self.tenant_id,
            extension_id=self.registry_id,
            content_hash=self.content_hash,
            install_id=self.install_id,
            version_id=self.version_id,
            config=self.config,
            config_version=self.config_version,
            secrets_version=self.secrets_version,
        )


class ExtensionNotInstalled(Exception):
    """This tenant has no such extension, or it has no bundle to run.

    Args:
        reason: one machine word, such as "no_such_install" or "no_content_hash".
    """

    def __init__(self, reason: str = "no_such_install") -> None:
        super().__init__(reason)
        self.reason = reason


class RegistryUnavailable(Exception):
    """Nobody can say what is installed, and nothing usable is remembered.

    Args:
        retry_after_s: when asking again makes sense.
        reason: one machine word, such as "timeout" or "unexpected_status_500".
    """

    def __init__(self, retry_after_s: int = 1, *, reason: str = "unreachable") -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.reason = reason


class Installs(Protocol):
    """Resolves extension ids. Raises only the two errors above (and CancelledError)."""

    async def resolve(self, tenant_id: str, extension: str, /) -> Install:
        """Look up what `extension` is for this tenant.

        Args:
            extension: an install id, a registry id, or a "publisher.name" slug, in any case.

        Raises:
            ExtensionNotInstalled: the tenant has no such extension.
            RegistryUnavailable: the answer could not be had.
        """

    def known(self, tenant_id: str, extension: str, /) -> Install | None:
        """What `resolve` returns or raises, when that is known without waiting; else None."""

    async def all(self, tenant_id: str | None, /) -> tuple[Install, ...]:
        """List what is known to be installed; None means for every tenant."""

    async def aclose(self) -> None:
        """Release connections and tasks. Safe to call twice."""
