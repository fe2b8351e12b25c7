"""Keep an engine until Ctrl-C, and say how a shell uses it."""

import shlex
import signal
import sys
from typing import Final

from tests.rigs.docker.commands import EngineUnavailable
from tests.rigs.docker.engine import docker_engine

SHOWN: Final = ("PATH", "DOCKER_HOST", "DOCKER_CONFIG", "BASE_IMAGE", "BUILD_NETWORK")


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with docker_engine() as engine:
            for name in SHOWN:
                if name in engine.environ:
                    sys.stdout.write(f"export {name}={shlex.quote(engine.environ[name])}\n")
            kind = "already there" if engine.daemon is None else "started for you"
            sys.stdout.write(f"# Docker {engine.version}, {kind}. Ctrl-C ends it.\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except EngineUnavailable as why:
        sys.stderr.write(f"no Docker engine: {why}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
