"""What a check has to say: one finding, fit for a terminal and for a machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it works, and will hurt one day or in one case
    FAILED = "failed"  # it does not work, or loses something


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of one check. Never holds a secret.

    Attributes:
        check: the family of checks that it comes from.
        what: what was found, in one line.
        why: why that matters; empty when all is well.
        fix: what to do; never empty unless all is well.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "check": self.check,
            "level": self.level.value,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }

    def lines(self) -> str:
        """One line, and one more with the fix when there is something to mend.

        >>> print(failed("port", "8787 is taken", "nothing can start", "stop it").lines())
        failed   port      8787 is taken: nothing can start
                           fix: stop it
        """
        why = f": {self.why}" if self.why else ""
        line = f"{self.level.value:<8} {self.check:<9} {self.what}{why}"
        return f"{line}\n{'':<18} fix: {self.fix}" if self.fix else line


def ok(check: str, what: str) -> Finding:
    return Finding(check=check, level=Level.OK, what=what)


def warning(check: str, what: str, why: str, fix: str) -> Finding:
    return Finding(check=check, level=Level.WARNING, what=what, why=why, fix=fix)


def failed(check: str, what: str, why: str, fix: str) -> Finding:
    return Finding(check=check, level=Level.FAILED, what=what, why=why, fix=fix)


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each level.

    >>> counts([ok("port", "free")])
    {'ok': 1, 'warning': 0, 'failed': 0}
    """
    levels = [finding.level for finding in findings]
    return {level.value: levels.count(level) for level in Level}
