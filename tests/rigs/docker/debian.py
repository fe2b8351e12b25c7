"""Debian packages, unpacked into a folder instead of installed.

Installing docker.io would start an engine that rewrites this machine's firewall. Unpacked, its
programs wait until they are called. What they need of shared libraries must be installed:
`.ci/docker` does that.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.rigs.docker.commands import EngineUnavailable, run

ENGINE_PACKAGES: Final = ("docker.io", "containerd", "runc", "debootstrap")
# This machine's compose may be the first one, which does not know today's files. The plugins of
# Debian 13 need nothing that Debian 12 lacks.
PLUGIN_PACKAGES: Final = ("docker-compose", "docker-buildx")
PLUGIN_SUITE: Final = "trixie"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"

_UPDATE_S: Final = 120.0
_DOWNLOAD_S: Final = 180.0
_UNPACK_S: Final = 60.0


def cache_folder() -> Path:
    """Where downloads are kept between runs; delete it to start from nothing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "extension-gateway" / "docker-rig"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mirror() -> str:
    """The address that this machine's own suite comes from.

    Raises:
        EngineUnavailable: this is no Debian.
    """
    rows = run(
        "apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)",
        "Created-By: Packages", "Origin: Debian",
        timeout_s=_UNPACK_S,
    )  # fmt: skip
    for row in rows.splitlines():
        component, uri = row.split()
        if component == "main" and "security" not in uri:
            return uri.rstrip("/")
    raise EngineUnavailable("no Debian mirror is known here; has `apt-get update` ever run?")


def tools() -> Path:
    """A folder with the engine's programs in `usr/`, downloaded at the first call.

    Raises:
        EngineUnavailable: a package could not be had.
    """
    ready = cache_folder() / "tools"
    if ready.is_dir():
        return ready
    draft = cache_folder() / f"tools.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _unpack(ENGINE_PACKAGES, draft, options=())
        _unpack(PLUGIN_PACKAGES, draft, options=_other_suite(draft / "apt"))
        shutil.rmtree(draft / "apt")
        draft.rename(ready)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ready


def _other_suite(folder: Path) -> Sequence[str]:
    """A private apt configuration: this machine's mirror, another suite, its lists fetched."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {PLUGIN_SUITE} main\n")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # the usual one may not write here
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    run("apt-get", *options, "update", timeout_s=_UPDATE_S)
    return options


def _unpack(packages: Sequence[str], target: Path, *, options: Sequence[str]) -> None:
    downloads = target / "downloads"
    downloads.mkdir(parents=True)
    run(
        "apt-get", *options, "-oAPT::Sandbox::User=root", "download", *packages,
        timeout_s=_DOWNLOAD_S, cwd=downloads,
    )  # fmt: skip
    for package in sorted(downloads.glob("*.deb")):
        run("dpkg-deb", "--extract", package, target, timeout_s=_UNPACK_S)
    shutil.rmtree(downloads)
