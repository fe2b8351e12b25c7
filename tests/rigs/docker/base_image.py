"""A base image with Python, made of Debian packages, where no image can be pulled."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.rigs.docker.commands import EngineUnavailable, run
from tests.rigs.docker.debian import KEYRING, cache_folder, mirror, tools

NAME: Final = "local/python-base"
SUITE: Final = "trixie"  # its python3 is 3.13, as in the image that the Dockerfile names
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")

_BOOTSTRAP_S: Final = 300.0
_IMPORT_S: Final = 120.0
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_NOT_NEEDED: Final = (
    "./dev/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
)


def import_base_image(environ: Mapping[str, str]) -> str:
    """Give an engine the base image, and return its name.

    Args:
        environ: with which `docker` reaches the engine.

    Raises:
        EngineUnavailable: it could not be made.
    """
    run(
        "docker", "import",
        # Installing packages in a container must trust whom this machine trusts.
        "--change", f"ENV PIP_CERT={_CERTIFICATES} NODE_EXTRA_CA_CERTS={_CERTIFICATES}",
        "--change", 'CMD ["python3"]',
        _archive(), NAME,
        environ=environ, timeout_s=_IMPORT_S,
    )  # fmt: skip
    return NAME


def _archive() -> Path:
    """The image's files, from the cache after the first time."""
    ready = cache_folder() / f"base-{SUITE}.tar"
    if ready.exists():
        return ready
    folder = Path(tempfile.mkdtemp(prefix="gateway-rig-root."))
    draft = ready.with_suffix(f".{os.getpid()}")
    try:
        unpacked = tools()
        run(
            unpacked / "usr/sbin/debootstrap", "--variant=minbase",
            f"--include={','.join(PACKAGES)}", f"--keyring={KEYRING}",
            SUITE, folder, mirror(),
            environ=os.environ | {"DEBOOTSTRAP_DIR": str(unpacked / "usr/share/debootstrap")},
            timeout_s=_BOOTSTRAP_S,
        )  # fmt: skip
        shutil.copyfile(_CERTIFICATES, folder / _CERTIFICATES.relative_to("/"))
        excluded = [f"--exclude={pattern}" for pattern in _NOT_NEEDED]
        run("tar", "-C", folder, *excluded, "-cf", draft, ".", timeout_s=_IMPORT_S)
        draft.rename(ready)
    finally:
        draft.unlink(missing_ok=True)
        _remove_root(folder)
    return ready


def _remove_root(folder: Path) -> None:
    # debootstrap mounts /proc while it works, and forgets to unmount it when it is interrupted.
    for mounted in ("proc", "sys"):
        subprocess.run(["umount", "--lazy", folder / mounted], capture_output=True, check=False)
    if os.path.ismount(folder / "proc"):
        raise EngineUnavailable(f"{folder}/proc is still mounted; unmount it, then remove {folder}")
    shutil.rmtree(folder, ignore_errors=True)
