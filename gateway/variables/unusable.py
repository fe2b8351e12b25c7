"""Settings that are in order, and that this machine refuses: a port in use, a key that does not
fit its certificate, more threads than it gives.
"""

import errno
from typing import Final

from backends.errors import BackendError
from gateway.variables.problems import SettingProblem

_NO_THREADS: Final = {
    "error": "no_threads",
    "detail": "the system starts no more threads or processes for this program",
    "fix": "Raise the limit of processes and threads (pids.max, TasksMax=, ulimit -u)",
}


class UnusableHere(OSError):
    """What a setting asks for cannot be had.

    Attributes:
        code: why, one machine word.
        problem: the variable to change, what is wrong with it, and the fix.
    """

    def __init__(self, code: str, problem: SettingProblem) -> None:
        super().__init__(None, str(problem))
        self.code = code
        self.problem = problem


def is_out_of_threads(why: BaseException | None) -> bool:
    """Whether the system refused a thread, or a process, which counts against the same limit."""
    if isinstance(why, OSError):
        return why.errno == errno.EAGAIN
    return isinstance(why, RuntimeError) and str(why) == "can't start new thread"


def log_fields(why: Exception) -> dict[str, str]:
    """What a log line says of it."""
    if is_out_of_threads(why) or is_out_of_threads(why.__cause__):
        return dict(_NO_THREADS)
    if isinstance(why, BackendError):
        return {"error": why.reason, "detail": words_of(why.__cause__)}
    if not isinstance(why, UnusableHere):
        return {"error": type(why).__name__, "detail": words_of(why)}
    return {
        "error": why.code,
        "variable": why.problem.variable,
        "detail": why.problem.problem,
        "fix": why.problem.fix,
    }


def words_of(why: BaseException | None) -> str:
    """What the system says, and of which file. For the log of a start: callers see no paths."""
    if not isinstance(why, OSError):
        return str(why or "")
    said = why.strerror or str(why)
    return f"{why.filename}: {said}" if why.filename else said
