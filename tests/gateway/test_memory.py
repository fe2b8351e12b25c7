"""What a serving process does not load: it would hold it for as long as it lives."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

SERVE = """
import sys
import gateway.__main__, gateway.start
gateway.start.load_structlog()
import gateway.process.serve, gateway.supervisor.worker
print(*{name.partition(".")[0] for name in sys.modules})
"""

NEEDED_ELSEWHERE = {
    "aiodocker",  # by the docker backend
    "wasmtime",  # by the embedded one
    "kubernetes_asyncio",  # by the knative one, when a service is named
    "cryptography",  # by certificates, and by tokens of callers
    "jwt",
    "jinja2",  # by the console's page
    "aiohttp_jinja2",
    "click",  # by the verbs
    "watchfiles",  # by `bundle dev`
    "rich",  # by developers
    "pygments",
    "greenlet",
}


def loaded_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_serving_loads_nothing_that_only_others_need() -> None:
    loaded = loaded_by(SERVE)
    assert "aiohttp" in loaded
    assert loaded & NEEDED_ELSEWHERE == set()


def test_who_asks_for_a_package_that_structlog_went_without_gets_it() -> None:
    program = """
import sys
from gateway.logs.lean_structlog import load_structlog
load_structlog()
assert "rich" not in sys.modules
import structlog, rich
assert structlog.dev.rich is None
print(rich.__name__)
"""
    assert loaded_by(program) == {"rich"}
