"""Are tokens and keys hard to guess, and can anybody administer at all?"""

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.variables.rules import WELL_KNOWN_KEYS
from gateway.variables.table import VARIABLES

_SHORTEST: Final = 16
_MAKE_ONE: Final = "write one that nobody can guess: openssl rand -hex 32"


async def check(case: Case) -> Sequence[Finding]:
    findings = [*_guessable(case), *_operators(case)]
    return findings or [ok("callers", "no token is well known or short")]


def _guessable(case: Case) -> Iterator[Finding]:
    report = warning if case.in_development else failed
    for name, row in VARIABLES.items():
        if not row.secret or case.settings.origins[name] == "default":
            continue
        token = getattr(case.settings.variables, row.field)
        if token.lower() in WELL_KNOWN_KEYS:
            why = "anybody who has read the same examples can use it"
            yield report("callers", f"{name} is a well-known default", why, _MAKE_ONE)
        elif len(token) < _SHORTEST and not case.in_development:
            why = "it can be guessed"
            yield warning(
                "callers", f"{name} is shorter than {_SHORTEST} characters", why, _MAKE_ONE
            )


def _operators(case: Case) -> Iterator[Finding]:
    if case.settings.admin_token is None and not case.settings.listen.is_loopback:
        yield warning(
            "callers",
            "GATEWAY_ADMIN_TOKEN is not set",
            "beyond loopback nobody is an operator then: no console, no reload over HTTP",
            _MAKE_ONE,
        )
