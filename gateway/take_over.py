"""`python -m gateway.take_over 7,8 ARGUMENTS`: become a program that inherits those sockets.

sd_listen_fds(3) wants them as descriptors 3, 4, ... and the heir's own process id in
LISTEN_PID, which nobody knows before the heir exists. So this is started, and becomes it.
"""

import os
import sys

FIRST = 3


def main(descriptors: list[int], arguments: list[str]) -> None:
    """Renumber the sockets and run this Python with `arguments`. Does not return."""
    # Out of each other's way first: 4 may have to become 3 while 3 has to become 4.
    free = max(descriptors) + len(descriptors) + FIRST
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, free + number)
    for number, descriptor in enumerate(descriptors):
        os.dup2(free + number, FIRST + number)
        os.close(free + number)
        if descriptor >= FIRST + len(descriptors):
            os.close(descriptor)
    os.putenv("LISTEN_FDS", str(len(descriptors)))
    os.putenv("LISTEN_PID", str(os.getpid()))
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  that is its purpose


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1].split(",")], sys.argv[2:])
