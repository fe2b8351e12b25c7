"""Changes of a bundle folder's installs, and a list of them: what the verbs about bundles do."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from backends.bundles import capabilities
from backends.bundles.errors import BundleNotFound
from backends.bundles.store import BundleStore
from backends.contract import is_identifier
from gateway.installs.contract import ExtensionNotInstalled, Install
from gateway.installs.index import index_lock, read_index, write_index
from gateway.installs.naming import EVERY_TENANT, derived_id, install_id, names_of


def install_bundle(
    root: Path,
    archive: Path,
    *,
    tenant: str,
    config: Mapping[str, str] | None = None,
    grants: Iterable[str] | None = None,
) -> Install:
    """Add a bundle to the folder and make it the tenant's version of its extension.

    Another version of the same extension is replaced: install id and registry id stay, and
    so does the configuration unless a new one is given. Blocking.

    Args:
        tenant: a tenant's id, or "*" for every tenant.
        grants: the capabilities that it may use; None for all that it declares. Names that no
            runner knows are left out, for a call that carried one would be refused.

    Raises:
        BundleError: the archive cannot be used.
        ValueError: the tenant's id is not one, or the index is damaged.
        OSError: the disk would not.
    """
    if tenant != EVERY_TENANT and not is_identifier(tenant):
        raise ValueError('a tenant is 1 to 128 of A-Z a-z 0-9 . _ -, or "*" for every tenant')
    with index_lock(root):
        installs = read_index(root)
        bundle = BundleStore(root).add(archive)
        manifest = bundle.manifest
        slug = manifest.slug
        before = [one for one in installs if (one.tenant_id, one.extension_slug) == (tenant, slug)]
        others = [one for one in installs if one not in before]
        if config is None:
            config = before[0].config if before else {}
        install = Install(
            tenant_id=tenant,
            extension_slug=slug,
            install_id=install_id(tenant, slug),
            registry_id=derived_id("extension", slug),
            version_id=derived_id("version", slug, manifest.version, bundle.content_hash),
            version=manifest.version,
            content_hash=bundle.content_hash,
            config=dict(config),
            providers=capabilities.known(manifest.capabilities if grants is None else grants),
            endpoints=manifest.endpoints,
            ui_label=manifest.ui_label,
        )
        write_index(root, (*others, install))
    return install


def list_installs(root: Path) -> tuple[Install, ...]:
    """All installs of the folder, as installed: tenant "*" is every tenant's. Blocking.

    Raises:
        ValueError: the index is damaged.
        OSError: the disk would not.
    """
    return read_index(root)


def remove_install(root: Path, which: str) -> Install:
    """Remove one install, and its bundle when no other install has it. Blocking.

    Args:
        which: an install id, a registry id or a slug, in any case.

    Raises:
        ExtensionNotInstalled: there is no such install.
        ValueError: several tenants have it, and only an install id can tell; or the index
            is damaged.
        OSError: the disk would not.
    """
    with index_lock(root):
        installs = read_index(root)
        found = [one for one in installs if which.lower() in names_of(one)]
        if not found:
            raise ExtensionNotInstalled
        if len(found) > 1:
            ids = ", ".join(f"{one.install_id} (tenant {one.tenant_id})" for one in found)
            raise ValueError(f"several tenants have it; give one install id: {ids}")
        removed = found[0]
        others = [one for one in installs if one is not removed]
        write_index(root, others)
        if all(one.content_hash != removed.content_hash for one in others):
            with suppress(BundleNotFound):
                BundleStore(root).remove(removed.content_hash)
    return removed
