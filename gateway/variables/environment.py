"""Where the variables come from: the process environment over the env file.

The process environment wins because whoever started the process is nearer than whoever
wrote the file. What that hides, and what nobody reads, is said instead of ignored.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final, Literal

from dotenv.parser import parse_stream

from gateway.variables.declared import DEFAULT_ENV_FILE
from gateway.variables.file_or_pipe import WRITER_S, read_at_most
from gateway.variables.problems import SettingProblem
from gateway.variables.table import VARIABLES

Origin = Literal["environment", "file", "default"]

MAX_ENV_FILE_BYTES: Final = 1024 * 1024
_ENV_FILE = "GATEWAY_ENV_FILE"
_OWN_PREFIXES = ("GATEWAY_", "RUNNER_", "EXT_GATEWAY_")
_SHARED_PREFIX = "EXT_"  # host applications and other runners have variables of this kind, too
_LONG_ENOUGH: Final = 8  # for a name to be like one of ours by more than chance
_COUNTS_INSTEAD: Final[Mapping[str, str]] = {
    "ALGA_AUTH_KEY": "the registry is asked with RUNNER_CONFIG_API_TOKEN"
}
"""Names without our prefixes that deployments have set and may take to count here, too."""

# Kubernetes writes these into every container for a Service that is called "gateway" or "runner".
_SERVICE_LINK = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The text of every variable that is set, and where each one came from."""

    texts: Mapping[str, str]
    origins: Mapping[str, Origin]
    env_file: Path | None
    pinned: tuple[str, ...]
    unread: tuple[str, ...]
    problems: tuple[SettingProblem, ...]


def read_sources(environ: Mapping[str, str]) -> Sources:
    """Merge the two. An empty or blank text counts as absent; white space around one is cut."""
    named = environ.get(_ENV_FILE, "").strip()
    path = Path(named or DEFAULT_ENV_FILE)
    written, problems = _read_env_file(path, must_exist=bool(named))
    process = {name: text.strip() for name, text in environ.items()}
    filed = {name: text for name, text in (written or {}).items() if name != _ENV_FILE}
    set_by_process = {name for name in VARIABLES if process.get(name)}
    set_by_file = {name for name in VARIABLES if filed.get(name)}
    origins: dict[str, Origin] = dict.fromkeys(VARIABLES, "default")
    origins |= dict.fromkeys(set_by_file, "file")
    origins |= dict.fromkeys(set_by_process, "environment")
    return Sources(
        texts={name: filed[name] for name in set_by_file}
        | {name: process[name] for name in set_by_process},
        origins=origins,
        env_file=None if written is None else path,
        pinned=tuple(
            name
            for name in VARIABLES
            if name in set_by_process and name in filed and filed[name] != process[name]
        ),
        unread=_unread(process, written or {}),
        problems=problems,
    )


def _read_env_file(
    path: Path, *, must_exist: bool
) -> tuple[Mapping[str, str] | None, tuple[SettingProblem, ...]]:
    if not must_exist and _is_absent(path):
        return None, ()
    # Who has not set the variable is told which file it is about.
    it = "names a file that" if must_exist else f"is not set, and {DEFAULT_ENV_FILE}"
    try:
        content = read_at_most(path, MAX_ENV_FILE_BYTES + 1)
    except TimeoutError:
        return None, (
            SettingProblem(
                variable=_ENV_FILE,
                problem=f"{it} is a pipe, not written to the end within {WRITER_S:.0f} s",
                fix="Write to it anew at every start and reload, or use a file",
            ),
        )
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "not a file name"
        return None, (_file_problem(f"{it} cannot be read ({reason.lower()})"),)
    if len(content) > MAX_ENV_FILE_BYTES:
        return None, (_file_problem(f"{it} is larger than 1 MiB"),)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None, (_file_problem(f"{it} is not UTF-8 text"),)
    return _parse(text, it)


def _is_absent(path: Path) -> bool:
    """Whether nobody put a file there. A link to nothing, or a folder that is closed to us, is
    somebody's file: its defaults would be a gateway that trusts every caller."""
    try:
        path.lstat()
    except OSError as failure:
        return isinstance(failure, FileNotFoundError | NotADirectoryError)
    return False


def _parse(text: str, it: str) -> tuple[Mapping[str, str], tuple[SettingProblem, ...]]:
    # dotenv_values() would skip a line that it cannot read, and would expand ${NAME} from the
    # environment behind our back: both turn a typing error into a surprise.
    values: dict[str, str] = {}
    problems: list[SettingProblem] = []
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(
                _file_problem(f"{it} has a line {binding.original.line} that is not NAME=value")
            )
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value.strip()
    return values, tuple(problems)


def _file_problem(problem: str) -> SettingProblem:
    return SettingProblem(
        variable=_ENV_FILE,
        problem=problem,
        fix="It has to be a readable UTF-8 file of NAME=value lines, comments beginning with #",
    )


def _unread(process: Mapping[str, str], written: Mapping[str, str]) -> tuple[str, ...]:
    found = {
        name
        for name, text in process.items()
        if not (_SERVICE_LINK.fullmatch(name) or text.startswith(("tcp://", "udp://")))
    }
    unknown = {
        name
        for name in (found | set(written)) - set(VARIABLES)
        if name.upper().startswith(_OWN_PREFIXES)
        or name in _COUNTS_INSTEAD
        or (name.startswith(_SHARED_PREFIX) and _close_to(name) is not None)
    }
    # The file is ours, or shared with few: what is nearly one of ours there is meant to be one.
    unknown |= {
        name
        for name in set(written) - set(VARIABLES)
        if len(name) >= _LONG_ENOUGH and _close_to(name) is not None
    }
    misplaced = {_ENV_FILE} & set(written)  # the file cannot say where the file is
    return tuple(sorted(unknown | misplaced))


def _likely(name: str) -> str | None:
    """The variable that was probably meant."""
    name = name.upper()
    bare = name.partition("_")[2]
    return bare if name not in VARIABLES and bare in VARIABLES else _close_to(name)


def _close_to(name: str) -> str | None:
    import difflib  # only for a name that nothing reads

    return next(iter(difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.85)), None)


def mistaken_and_others(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables that nobody reads: those that were probably meant for this program, and those
    that are like none of ours, as in a file that other programs read, too.

    >>> mistaken_and_others(["RUNNER_IMAGE", "GATEWAY_AUHT"])
    (('GATEWAY_AUHT',), ('RUNNER_IMAGE',))
    """
    found = sorted(names)
    mistaken = tuple(
        name
        for name in found
        if name == _ENV_FILE or name in _COUNTS_INSTEAD or _likely(name) is not None
    )
    return mistaken, tuple(name for name in found if name not in mistaken)


def unread_warning(name: str, *others: str) -> str:
    """One line about variables that nobody reads; about a single one with the likely spelling.

    >>> unread_warning("RUNNER_REGISTRY_BASE_URL")
    'RUNNER_REGISTRY_BASE_URL is not read by this program. Did you mean REGISTRY_BASE_URL?'
    """
    if others:
        return f"{', '.join((name, *others))} are not read by this program."
    if name == _ENV_FILE:
        return f"{name} is read from the process environment only, not from the file."
    if name in _COUNTS_INSTEAD:
        return f"{name} is not read; {_COUNTS_INSTEAD[name]}."
    likely = _likely(name)
    hint = f" Did you mean {likely}?" if likely else ""
    return f"{name} is not read by this program.{hint}"
