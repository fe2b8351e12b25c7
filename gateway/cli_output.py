"""What verbs share: JSON or a table on standard output, problems on standard error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
import orjson

if TYPE_CHECKING:  # `--help` must not wait for the validation library
    from gateway.setting_problems import SettingsError
    from gateway.settings import Settings

Verb = TypeVar("Verb", bound=Callable[..., object])


def as_json(verb: Verb) -> Verb:
    """Give a verb the option --json."""
    return click.option("--json", is_flag=True, help="Report as one JSON document.")(verb)


def print_json(document: object) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell.

    >>> print(table(("name", "is"), [("a", "long"), ("b", "")]))
    name  is
    a     long
    b
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def problem_rows(wrong: "SettingsError") -> list[Mapping[str, str]]:
    return [
        {"variable": bad.variable, "problem": bad.problem, "fix": bad.fix} for bad in wrong.problems
    ]


@contextmanager
def settings_reported() -> Iterator[None]:
    """End the program with every problem on standard error, if settings cannot be used."""
    from gateway.setting_problems import SettingsError

    try:
        yield
    except SettingsError as wrong:
        raise click.ClickException(f"the settings cannot be used:\n{wrong}") from None


def loaded_settings(environ: Mapping[str, str]) -> "Settings":
    """Load, or end the program with every problem on standard error."""
    from gateway.settings import load

    with settings_reported():
        return load(environ)


@contextmanager
def found_wrong(*kinds: type[Exception], json: bool = False) -> Iterator[None]:
    """Turn these exceptions into a report and exit code 1."""
    try:
        yield
    except kinds as wrong:
        if not json:
            raise click.ClickException(str(wrong)) from None
        print_json({"ok": False, "problem": str(wrong)})
        raise click.exceptions.Exit(1) from None
