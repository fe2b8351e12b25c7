"""Several worker processes on one port, started, watched and switched together."""

from gateway.logs.lean_structlog import load_structlog

load_structlog()  # a worker is a module of this package: before anything of it does
