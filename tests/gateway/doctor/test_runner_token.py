"""Tokens in files that are out of date, for somebody else, or about to end."""

import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from gateway.doctor.findings import Level
from tests.gateway.doctor.rig import of, visit

ELSEWHERE = "http://127.0.0.1:9"
KEY = "k" * 32


def token(left_s: float | None = 3600, audience: str = "ingress") -> str:
    claims: dict[str, object] = {"aud": audience}
    if left_s is not None:
        claims["exp"] = int(time.time() + left_s)
    return jwt.encode(claims, KEY, algorithm="HS256")


@pytest.mark.parametrize(
    ("make", "level", "words"),
    [
        (token, Level.OK, "is good for"),
        (lambda: token(None), Level.OK, "holds a token"),
        (lambda: "opaque", Level.OK, "holds a token"),
        (lambda: token(60), Level.WARNING, "expires in"),
        (lambda: token(-60), Level.FAILED, "token_expired"),
        (
            lambda: token(audience="https://kubernetes.default.svc"),
            Level.FAILED,
            "token_of_the_cluster",
        ),
    ],
    ids=["good", "endless", "opaque", "about to end", "ended", "of the cluster"],
)
async def test_a_knative_token_is_judged(
    tmp_path: Path, make: Callable[[], str], level: Level, words: str
) -> None:
    file, content = tmp_path / "token", make()  # not at import, which may be minutes ago
    file.write_text(content)
    findings = await visit(RUNNER_BASE_URL=ELSEWHERE, RUNNER_KNATIVE_TOKEN_FILE=str(file))
    (found,) = of(findings, "token")
    assert found.level is level
    assert words in found.what
    assert content not in repr(findings)


async def test_a_service_token_that_has_expired_is_found_without_being_shown(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text(token(-60))
    findings = await visit(RUNNER_BASE_URL=ELSEWHERE, RUNNER_SERVICE_TOKEN_FILE=str(file))
    (found,) = of(findings, "token")
    assert found.level is Level.FAILED
    assert file.read_text() not in repr(findings)
