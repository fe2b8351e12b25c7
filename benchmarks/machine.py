"""Where the figures are from: without it they mean nothing to a reader."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Final

from benchmarks.tools import Tools, version_of

_LIBRARIES: Final = ("aiohttp", "uvloop", "httptools", "orjson", "wasmtime")
_PROGRAMS: Final = ("nginx", "haproxy", "caddy", "envoy", "node")


def describe(tools: Tools) -> dict[str, str]:
    """Processor, kernel and versions, in words for people."""
    facts = {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for name in _LIBRARIES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    facts |= {name: said for name in _PROGRAMS if (said := version_of(name, tools))}
    return facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
