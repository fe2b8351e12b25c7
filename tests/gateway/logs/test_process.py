"""Every line of a process, searched for what nobody may be shown."""

import os
import tempfile
from pathlib import Path

import structlog

from backends.files.token import token_now
from gateway.logs.process import ProcessLogs
from gateway.settings import load


def test_a_token_that_is_renewed_in_its_file_is_masked_in_every_line(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-before")
    settings = load({"RUNNER_SERVICE_TOKEN_FILE": str(token), "GATEWAY_LOG_FORMAT": "json"})
    with tempfile.TemporaryFile() as written:
        logs = ProcessLogs(settings, written.fileno())
        token.write_text("token-afterwards")
        token_now(settings.service_token)  # as the next request does
        said = {"said": "token-before token-afterwards"}
        logs.access([(0.0, "info", "request_answered", dict(said))])
        structlog.get_logger().info("fact", **said)
        logs.close()
        lines = os.pread(written.fileno(), 10_000, 0)
    assert lines.count(b'"said":"*** ***"') == 2
    assert b"token-" not in lines
