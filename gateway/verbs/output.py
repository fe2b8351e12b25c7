"""What verbs share: JSON or a table on standard output, problems on standard error."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar, cast

import click
import orjson

from backends.contract import is_identifier

if TYPE_CHECKING:  # `--help` must not wait for the validation library
    from gateway.settings import Settings
    from gateway.variables.problems import SettingsError

Environ = Mapping[str, str]
"""The process environment that a verb was started with."""

Verb = TypeVar("Verb", bound=Callable[..., object])


def as_json(verb: Verb) -> Verb:
    """Give a verb the option --json, under which a failure is a document, too."""
    return _reporting(verb, print_json, "Report as one JSON document.")


def as_json_lines(verb: Verb) -> Verb:
    """The same for a verb that reports as it goes."""
    return _reporting(verb, print_json_line, "Report as JSON, one document a line.")


def _reporting(verb: Verb, report: Callable[[object], None], help_text: str) -> Verb:
    @functools.wraps(verb)
    def reporting(*given: object, json: bool, **named: object) -> object:
        try:
            return verb(*given, json=json, **named)
        except click.UsageError:
            raise
        except click.ClickException as wrong:
            if not json:
                raise
            report({"ok": False, **_facts(wrong)})
            raise click.exceptions.Exit(wrong.exit_code) from None

    return cast("Verb", click.option("--json", is_flag=True, help=help_text)(reporting))


def _facts(wrong: click.ClickException) -> Mapping[str, object]:
    if isinstance(wrong, SettingsUnusable):
        return {"problems": wrong.rows}
    return {"problem": wrong.message}


def tenant_id(*besides: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Checks an option: what can be no tenant's id is a verb used wrongly, not an unknown one."""

    def checked(_: click.Context, __: click.Parameter, said: str | None) -> str | None:
        if said is None or said in besides or is_identifier(said):
            return said
        raise click.BadParameter(
            f"{said!r} is not 1 to 128 letters, digits, dots, dashes, underscores"
        )

    return checked


def print_json(document: object) -> None:
    try:
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except TypeError:  # a file's name that is no UTF-8
        click.echo(json.dumps(document, indent=2))


def print_json_line(document: object) -> None:
    try:
        click.echo(orjson.dumps(document))
    except TypeError:
        click.echo(json.dumps(document))


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


def output_refused() -> OSError | None:
    """Why nothing can be written to standard output; None if something can.

    What is left in its buffer is dropped then, or the interpreter would try once more at its exit.
    """
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")  # without a buffer there was nothing to flush
    except OSError as refused:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return refused
    return None


class SettingsUnusable(click.ClickException):
    """Ends a verb with every problem of its settings.

    Attributes:
        rows: one for each bad variable, with the fix.
    """

    def __init__(self, wrong: "SettingsError") -> None:
        super().__init__(f"the settings cannot be used:\n{wrong}")
        self.rows = list(map(asdict, wrong.problems))


@contextmanager
def settings_reported() -> Iterator[None]:
    """End the verb with every problem, if settings cannot be used at all, or not here."""
    from gateway.variables.problems import SettingsError
    from gateway.variables.unusable import UnusableHere

    try:
        yield
    except SettingsError as wrong:
        raise SettingsUnusable(wrong) from None
    except UnusableHere as refused:
        raise SettingsUnusable(SettingsError((refused.problem,))) from None


def log_errors_only() -> None:
    """Leave standard error to what the report does not say."""
    from gateway.logs.lines import configure_logs

    configure_logs("console", "error", sys.stderr)


def loaded_settings(environ: Environ) -> "Settings":
    """Load, or end the verb with every problem."""
    from gateway.settings import load

    with settings_reported():
        return load(environ)


@contextmanager
def found_wrong(*kinds: type[Exception]) -> Iterator[None]:
    """Turn these exceptions into a report and exit code 1."""
    from gateway.variables.unusable import words_of

    try:
        yield
    except kinds as wrong:
        raise click.ClickException(words_of(wrong)) from None
