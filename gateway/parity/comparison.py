"""Asks every backend the same questions, and says where the answers differ."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from backends.bounded_body import BodyTooLarge, read_at_most
from backends.contract import Pairs
from gateway.parity.questions import Question

ANSWER_S: Final = 60.0
MAX_BODY_BYTES: Final = 64 * 1024 * 1024

_ITS_OWN: Final = frozenset({"date", "x-runner-backend", "x-runner-generation", "server-timing"})
"""Fields that differ between any two answers: who answered, when, and how fast."""
_OPAQUE: Final = frozenset({"etag", "last-modified", "set-cookie"})
"""Fields whose value is each backend's own choice: only their presence is compared."""
_NAMES_THE_BACKEND: Final = ("backend", "generation")


@dataclass(frozen=True, slots=True)
class Said:
    """One answer, as far as backends may not differ in it. Fields in no order, repeats kept."""

    status: int
    headers: Pairs
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One question, and what came of it.

    Attributes:
        statuses: by the name of who answered; 0: there was no answer.
        differences: what differs, such as "status" or "header etag"; empty: nothing does.
    """

    question: Question
    statuses: Mapping[str, int]
    differences: tuple[str, ...]


async def compare(origins: Mapping[str, str], questions: Iterable[Question]) -> list[Compared]:
    """Ask each question everywhere, one after the other.

    Args:
        origins: by a name for who answers there.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    found = []
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        for number, question in enumerate(questions):
            answers = {
                name: await _ask(session, origin, question, request_id=f"parity-{number}")
                for name, origin in origins.items()
            }
            found.append(
                Compared(
                    question=question,
                    statuses={name: said.status for name, said in answers.items()},
                    differences=tuple(differences(answers.values())),
                )
            )
    return found


def differences(answers: Iterable[Said]) -> list[str]:
    """What is not the same in all of them.

    >>> differences([Said(200, (("vary", "accept"),), b"a"), Said(200, (), b"a")])
    ['header vary']
    """
    first, *others = answers
    found = []
    if any(each.status != first.status for each in others):
        found.append("status")
    counted = [Counter(each.headers) for each in (first, *others)]
    names = {name for each in counted for name, _ in (each - counted[0]) + (counted[0] - each)}
    found += [f"header {name}" for name in sorted(names)]
    if any(each.body != first.body for each in others):
        found.append("body")
    return found


async def _ask(
    session: aiohttp.ClientSession, origin: str, question: Question, *, request_id: str
) -> Said:
    asked = {**question.headers, "x-request-id": request_id}
    try:
        if question.after is not None:
            async with session.request(question.method, origin + question.target) as before:
                asked[question.after] = before.headers.get("etag", '"none"')
        async with session.request(
            question.method, origin + question.target, headers=asked, allow_redirects=False
        ) as answer:
            headers = _told(answer.headers.items())
            return _anonymous(answer.status, headers, await read_at_most(answer, MAX_BODY_BYTES))
    except (aiohttp.ClientError, TimeoutError, BodyTooLarge) as failure:
        return Said(0, (), type(failure).__name__.encode())


def _told(headers: Iterable[tuple[str, str]]) -> Pairs:
    lowered = ((name.lower(), value) for name, value in headers)
    return tuple(
        (name, "(any)" if name in _OPAQUE else value)
        for name, value in lowered
        if name not in _ITS_OWN
    )


def _anonymous(status: int, headers: Pairs, body: bytes) -> Said:
    """A JSON body without its backend's name and with sorted members; any other body as it is."""
    content_type = dict(headers).get("content-type", "")
    if not content_type.partition(";")[0].endswith("json"):
        return Said(status, headers, body)
    without_length = tuple(pair for pair in headers if pair[0] != "content-length")
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:  # to HEAD there is none
        return Said(status, without_length, body)
    if isinstance(document, dict):
        for name in _NAMES_THE_BACKEND:
            document.pop(name, None)
    return Said(status, without_length, orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
