"""Settings that are in order, and that this machine refuses: a port in use, a key that does not
fit its certificate.
"""

from gateway.variables.problems import SettingProblem


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


def log_fields(why: OSError) -> dict[str, str]:
    """What a log line says of it."""
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
