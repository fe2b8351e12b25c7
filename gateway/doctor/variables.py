"""The settings: usable, and does everything that was written count?"""

from collections.abc import Iterator, Sequence

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, ok, warning
from gateway.variables.environment import mistaken_and_others, unread_warning

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


async def check(case: Case) -> Sequence[Finding]:
    source = case.settings.env_file or "no env file"
    return [ok("settings", f"usable ({source})"), *_not_counting(case), *_proxies(case)]


def _not_counting(case: Case) -> Iterator[Finding]:
    for name in case.settings.pinned:
        yield warning(
            "settings",
            f"{name} in the env file does not count",
            "the process environment says something else, and a reload will not change that",
            f"remove {name} from the file, or from the process environment",
        )
    for one in case.settings.unused:
        what, _, why = one.problem.partition(": ")
        yield warning("settings", f"{one.variable} {what}", why, one.fix)
    mistaken, others = mistaken_and_others(case.settings.unread)
    for name in mistaken:
        what, _, hint = unread_warning(name).partition(". ")
        fix = hint or "correct the name, or remove it"
        yield warning("settings", what.rstrip("."), "what it says does not count", fix)
    if others:
        yield warning(
            "settings",
            unread_warning(*others).rstrip("."),
            "what is said there does not count here",
            "if they are another program's, ignore this; else correct the names, or remove them",
        )


def _proxies(case: Case) -> Iterator[Finding]:
    found = sorted(name for name in case.environ if name.upper() in _PROXIES and case.environ[name])
    if found and (case.runner_url is not None or case.settings.variables.registry_base_url):
        yield warning(
            "settings",
            f"{', '.join(found)} set, and ignored",
            "the gateway reaches runner and registry directly, never through a proxy",
            "make both reachable from here; without a need for the proxy, ignore this",
        )
