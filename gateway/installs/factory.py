"""From settings to whoever knows what is installed."""

from typing import assert_never

from backends.bundles.store import BundleStore
from gateway.installs.contract import Installs
from gateway.installs.directory import DirectoryInstalls
from gateway.installs.http import RegistryInstalls
from gateway.settings import DirectoryInstallsSettings, RegistryInstallsSettings, Settings


def open_installs(settings: Settings) -> Installs:
    """The bundle folder's index, or the host application's registry."""
    match settings.installs:
        case DirectoryInstallsSettings(bundle_dir=bundle_dir, tenant=tenant):
            return DirectoryInstalls(bundle_dir, dev_tenant=tenant)
        case RegistryInstallsSettings(base_url=base_url, token=token, bundle_dir=bundle_dir):
            # The registry does not name endpoints; a bundle that is here too does.
            return RegistryInstalls(base_url, token=token, store=BundleStore(bundle_dir))
        case _:
            assert_never(settings.installs)
