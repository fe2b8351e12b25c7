"""`python -m gateway`: the verbs, or none, which is `serve`."""

import os
import sys
from contextlib import suppress
from typing import Final

_STDOUT: Final = 1
_STDERR: Final = 2


def main() -> None:
    """Run the program; without its dependencies, say how to install them instead of a traceback."""
    _open_standard_descriptors()
    try:
        _run()
    except KeyboardInterrupt:  # before it serves, or there are verbs: as they say it
        sys.exit("\nAborted!")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith(("gateway", "middleware", "backends")):
            raise
        sys.stderr.write(
            f"{sys.executable} has no {missing.name}, which the gateway needs.\n"
            "Run `make setup` once, then `. .venv/bin/activate` in every new shell.\n"
        )
        sys.exit(2)


def _open_standard_descriptors() -> None:
    """Lead to nowhere what was closed of 0, 1 and 2: a socket would get its number, and with that
    libuv ends the process; and the log would have no place."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(opened, True)  # workers and successors, too
    os.close(opened)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)


def _run() -> None:
    """`serve` does without the library that reads verbs, which would stay in memory for good."""
    if sys.argv[1:] in ([], ["serve"]):
        from gateway.start import load_and_start
        from gateway.variables.problems import SettingsError

        with suppress(SettingsError):  # the verb finds the same, and reports it
            sys.exit(load_and_start(dict(os.environ)))
    from gateway.cli import main as read_verbs

    read_verbs()


if __name__ == "__main__":
    main()
