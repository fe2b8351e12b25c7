"""Which program this is."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _version() -> str:
    try:
        return version("extension-gateway")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


VERSION: Final = _version()
