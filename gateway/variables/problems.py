"""What is wrong with a configuration, said so that it can be mended at once."""

from dataclasses import dataclass

from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingProblem:
    """One bad variable: what is wrong and what to write. Never holds the value itself."""

    variable: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.problem}. {self.fix}."


class SettingsError(Exception):
    """The configuration cannot be used; `problems` lists every reason at once.

    Attributes:
        pinned: variables whose line in the env file does not count, which may be the reason.
    """

    def __init__(self, problems: tuple[SettingProblem, ...], pinned: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.pinned = pinned


def refuse(problem: str) -> PydanticCustomError:
    """What a validator raises; `problem` goes on after the variable's name."""
    # The message is a template of its own: braces in it would be taken for places.
    return PydanticCustomError("refused", "{problem}", {"problem": problem})
