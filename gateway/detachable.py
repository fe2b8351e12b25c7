"""`python -m gateway.detachable 9 COMMAND`: run a command that outlives its parent.

The command is a child of this process, which ends with it and with its status, as a shell
would. Kill this process, and the command is nobody's child: whoever looks after orphans, such as
a service manager, becomes its parent at once.
"""

import os
import signal
import sys


def main(report: int, command: list[str]) -> int:
    """Run `command`, and write its process id to the descriptor `report`."""
    os.set_inheritable(report, False)
    child = os.fork()
    if not child:
        os.execv(command[0], command)  # noqa: S606  that is its purpose
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the command, too
    try:
        os.write(report, str(child).encode())
    except BrokenPipeError:  # whoever asked for it is gone, and nobody knows of it
        os.kill(child, signal.SIGKILL)
    os.close(report)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
