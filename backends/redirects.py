"""Where a runner's redirect leads in the browser's own terms, if it may lead there at all."""

import re
from urllib.parse import SplitResult, unquote, unquote_plus, urljoin, urlsplit

from backends.errors import Phase, RunnerProtocolError

_UI_PREFIX = "/ext-ui/"
# Visible ASCII; browsers read a backslash as a slash, so none may pass, encoded or not.
_REFERENCE = re.compile(r"(?:(?!%5c)[!-\[\]-~])+", re.IGNORECASE)


def rewrite_location(
    location: str, *, runner_url: str, target: str, public_base: str, query: str = ""
) -> str:
    """Move a Location under the public base.

    Args:
        location: as the runner wrote it: absolute, absolute-path or relative.
        runner_url: the runner's origin and base path.
        target: the request target that was answered, for relative references.
        public_base: where browsers find the runner, "/runner" or an absolute URL.
        query: the caller's raw query. Its parameters are kept where the redirect drops them:
            the page inside an iframe learns its host's origin from them.

    Raises:
        RunnerProtocolError: "redirect_off_origin": it leads anywhere but to UI files of this
            runner.

    >>> rewrite_location(
    ...     "/ext-ui/e/h/index.html?tenant=t", runner_url="http://runner:8080",
    ...     target="/ext-ui/e/h/", public_base="/runner", query="tenant=x&_h=1",
    ... )
    '/runner/ext-ui/e/h/index.html?tenant=t&_h=1'
    """
    if not _REFERENCE.fullmatch(location):
        raise _off_origin()
    runner = urlsplit(runner_url)
    try:
        goal = urlsplit(urljoin(f"{runner.scheme}://{runner.netloc}{target}", location))
        leaves = goal.username is not None or _origin(goal) != _origin(runner)
    except ValueError:
        raise _off_origin() from None
    path = goal.path
    if runner.path and path.startswith(f"{runner.path}/"):
        path = path.removeprefix(runner.path)
    climbs = not {".", ".."}.isdisjoint(unquote(path).split("/"))
    if leaves or climbs or not path.startswith(_UI_PREFIX):
        raise _off_origin()
    merged = _keep_dropped(goal.query, query)
    return (
        public_base.rstrip("/")
        + path
        + (f"?{merged}" if merged else "")
        + (f"#{goal.fragment}" if goal.fragment else "")
    )


def _keep_dropped(named: str, asked: str) -> str:
    pairs = [pair for pair in named.split("&") if pair]
    names = {_name(pair) for pair in pairs}
    return "&".join(
        pairs + [pair for pair in asked.split("&") if pair and _name(pair) not in names]
    )


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _off_origin() -> RunnerProtocolError:
    return RunnerProtocolError("redirect_off_origin", phase=Phase.FIRST_BYTE)
