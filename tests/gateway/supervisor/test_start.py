"""What a worker begins with."""

import pickle
from pathlib import Path

import pytest
import trustme

from backends.settings import EmbeddedSettings
from gateway.settings import load
from gateway.supervisor.start import share_of

BOUNDS = {"GATEWAY_MAX_IN_FLIGHT": "10", "RUNNER_MAX_CONCURRENCY": "4", "RUNNER_MAX_QUEUE": "0"}


@pytest.fixture(autouse=True)
def no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("workers", "in_flight", "at_once"), [(1, 10, 4), (3, 4, 2), (4, 3, 1), (64, 1, 1)]
)
def test_bounds_are_shared_out_so_that_everybody_has_some(
    workers: int, in_flight: int, at_once: int
) -> None:
    share = share_of(load(BOUNDS), workers)
    assert share.max_in_flight == in_flight
    for embedded in (share.backend, share.embedded):
        assert isinstance(embedded, EmbeddedSettings)
        assert embedded.max_concurrency == at_once
        assert embedded.max_queue == 0


def test_settings_arrive_as_they_were_sent(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = load(
        {
            "RUNNER_BASE_URL": "http://runner.example",
            "RUNNER_KNATIVE_CA_FILE": str(tmp_path / "ca.pem"),
            "GATEWAY_AUTH": "proxy",
            "GATEWAY_PROXY_KEY": "a-long-enough-proxy-key",
        }
    )
    # Files may say something else by then: what was read once is what counts.
    sent = pickle.dumps(settings)
    (tmp_path / "ca.pem").unlink()
    assert pickle.loads(sent) == settings
