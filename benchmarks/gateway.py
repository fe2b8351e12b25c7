"""The gateway as it is measured: a process of its own, with everything on that production has.

Callers are told apart by a key, every request is logged into a file and counted, and all
limits are at their defaults.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import gateway
from benchmarks.servers import Launch
from gateway.variables.table import VARIABLES

BUNDLES: Final = "bundles"  # a folder next to the folders of the servers
SERVICE_TOKEN: Final = "not-a-secret-the-runner-is-a-stand-in"

_REPOSITORY: Final = Path(gateway.__file__).parents[1]
_CACHE: Final = "GATEWAY_ASSET_CACHE_MB"

PASSING: Final[Mapping[str, str]] = {"RUNNER_BACKEND": "knative", _CACHE: "0"}
CACHED: Final[Mapping[str, str]] = {"RUNNER_BACKEND": "knative", _CACHE: "128"}
EMBEDDED: Final[Mapping[str, str]] = {"RUNNER_BACKEND": "embedded", _CACHE: "0"}


def has_cache() -> bool:
    """Whether this version keeps UI files itself."""
    return _CACHE in VARIABLES


def gateway_launch(
    flavour: Mapping[str, str], *, folder: Path, port: int, runner_url: str, key: str
) -> Launch:
    """`python -m gateway` in `folder`, which must be next to BUNDLES."""
    environ = {
        "PYTHONPATH": str(_REPOSITORY),
        "RUNNER_BASE_URL": runner_url,
        "RUNNER_BUNDLE_DIR": str(folder.parent / BUNDLES),
        "RUNNER_SERVICE_TOKEN": SERVICE_TOKEN,
        "GATEWAY_AUTH": "proxy",
        "GATEWAY_PROXY_KEY": key,
        "GATEWAY_PORT": str(port),
        "GATEWAY_LOG_FORMAT": "json",
        **flavour,
    }
    if not has_cache():
        del environ[_CACHE]
    return Launch((sys.executable, "-m", "gateway"), environ)
