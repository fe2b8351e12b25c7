"""The same flows over HTTPS: the browser to Next, and Next to the gateway, by `gateway certs`.

The browser trusts the server's key by name, as a profile does that trusts the authority.
"""

import base64
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from playwright.async_api import Browser, BrowserContext, Page, expect

from gateway.verbs.certificates import Certificates, make_certificates
from tests.browser.conftest import StartGateway, chromium
from tests.browser.test_app import (
    test_a_swap_under_a_page_that_keeps_asking_shows_in_the_tag_alone,
    test_somebody_signs_in_and_the_extension_works_in_its_frame,
    test_the_frame_is_as_high_as_its_page_says_within_limits,
    test_the_page_hears_of_the_theme_and_may_move_inside_its_own_router,
    test_two_frames_that_ask_with_one_request_id_get_each_its_own_answer,
)
from tests.browser.test_through_next import (
    test_an_aborted_call_is_cancelled_at_the_runner,
    test_events_reach_a_browser_one_by_one,
)
from tests.rigs.nextjs import NextApp, free_port, serving

__all__ = [
    "test_a_swap_under_a_page_that_keeps_asking_shows_in_the_tag_alone",
    "test_an_aborted_call_is_cancelled_at_the_runner",
    "test_events_reach_a_browser_one_by_one",
    "test_somebody_signs_in_and_the_extension_works_in_its_frame",
    "test_the_frame_is_as_high_as_its_page_says_within_limits",
    "test_the_page_hears_of_the_theme_and_may_move_inside_its_own_router",
    "test_two_frames_that_ask_with_one_request_id_get_each_its_own_answer",
]

pytestmark = [pytest.mark.browser, pytest.mark.node]

ROOT = Path(__file__).parents[2]
CERTS_S = 60


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What `python -m gateway certs` leaves."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [sys.executable, "-m", "gateway", "certs", "--out", str(folder)],
        env={"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        timeout=CERTS_S,
        check=True,
    )
    return make_certificates(folder)  # its authority is usable: it stays


@pytest.fixture(scope="module")
def app(tls: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NextApp]:
    """The app as a developer serves it whose browser features need HTTPS."""
    folder = tmp_path_factory.mktemp("nextjs-https") / "app"
    with serving(folder, gateway_port=free_port(), tls=tls) as running:
        yield running


@pytest.fixture
async def browser(tls: Certificates) -> AsyncIterator[Browser]:
    """A browser that trusts this one key, and complains about every other."""
    key = load_pem_x509_certificate(tls.server.read_bytes()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
    async with chromium(f"--ignore-certificate-errors-spki-list={pin}") as running:
        yield running


async def test_the_pages_are_a_secure_context_and_the_console_is_there_too(
    visitor: BrowserContext, page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with start_gateway(RUNNER_BACKEND="embedded") as gateway:
        await page.goto(app.url)
        assert page.url.startswith("https://")
        assert await page.evaluate("isSecureContext && location.protocol") == "https:"
        await expect(page.frame_locator("iframe").locator("#greeting")).to_have_text("Hello, Ada!")

        console = await visitor.new_page()
        await console.goto(f"{gateway.url}/gateway/")
        assert gateway.url.startswith("https://")
        await expect(console.locator("#connection")).to_have_text("Live")
