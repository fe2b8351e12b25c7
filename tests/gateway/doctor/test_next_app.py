"""Wrong Next.js apps, each found with its fix."""

from pathlib import Path

import pytest

from gateway.doctor.findings import Level
from gateway.doctor.listener import localhost_addresses
from tests.gateway.doctor.rig import of, the_one, visit, visit_app

EXAMPLE = Path(__file__).parents[3] / "examples" / "nextjs"
PORT = "8787"
GOOD = """
const gateway = "http://127.0.0.1:8787";
export default {
  rewrites: async () => ({
    beforeFiles: ["/api/ext/:path*", "/runner/:path*"].map((source) => (
      { source, destination: `${gateway}${source}` })),
  }),
  experimental: { proxyTimeout: 35_000, proxyClientMaxBodySize: "11mb" },
};
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "next.config.mjs").write_text(GOOD)
    return tmp_path


def change(app: Path, old: str, new: str) -> None:
    file = app / "next.config.mjs"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize("example", [True, False])
async def test_a_good_app_gives_no_cause_for_complaint(app: Path, example: bool) -> None:
    findings = await visit_app(EXAMPLE if example else app, GATEWAY_PORT=PORT)
    assert {finding.level for finding in of(findings, "next")} == {Level.OK}


@pytest.mark.parametrize(
    ("old", "new", "words", "level", "fix"),
    [
        ("beforeFiles", "afterFiles", "not in beforeFiles", Level.WARNING, "beforeFiles"),
        ('"/runner/:path*"', '"/other"', "no rewrite of /runner", Level.FAILED, "/runner/:path*"),
        ("8787", "8788", "lead to port 8788", Level.FAILED, "8787"),
        ("http:", "https:", "do not say http://", Level.FAILED, "http://"),
        ('"http://127.0.0.1:8787"', "where()", "could not be read", Level.WARNING, "8787"),
        ("proxyTimeout: 35_000,", "", "30000 ms by default", Level.WARNING, "35000"),
        ("35_000", "patience", "proxyTimeout in", Level.WARNING, "docs/nextjs.md"),
        ('"11mb"', '"10mb"', "10485760 bytes", Level.FAILED, '"11mb"'),
        ("experimental: {", "basePath: '/shop', x: {", "under /shop", Level.FAILED, "/shop/runner"),
        ("experimental: {", "compress, x: {", "compress in", Level.WARNING, "docs/nextjs.md"),
    ],
)
async def test_a_wrong_app_is_told_what_to_change(
    app: Path, old: str, new: str, words: str, level: Level, fix: str
) -> None:
    change(app, old, new)
    found = the_one(await visit_app(app, GATEWAY_PORT=PORT), "next", words)
    assert found.level is level
    assert fix in found.fix


async def test_the_limits_are_the_gateways_own_and_not_fixed_numbers(app: Path) -> None:
    findings = await visit_app(
        app,
        GATEWAY_PORT=PORT,
        EXT_GATEWAY_TIMEOUT_MS="40000",
        GATEWAY_MAX_BODY_BYTES="20971520",
    )
    assert "45000" in the_one(findings, "next", "proxyTimeout is").fix
    assert "21mb" in the_one(findings, "next", "proxyClientMaxBodySize is").fix


async def test_a_page_that_takes_a_path_away_is_named(app: Path) -> None:
    change(app, "beforeFiles", "fallback")
    (app / "app" / "api" / "ext").mkdir(parents=True)
    found = the_one(await visit_app(app, GATEWAY_PORT=PORT), "next", "shadows /api/ext")
    assert found.level is Level.FAILED
    assert "app/api/ext" in found.what


async def test_a_base_path_fits_when_the_public_base_has_it(app: Path) -> None:
    change(app, "experimental: {", "basePath: '/shop', experimental: {")
    change(app, "/runner/:path*", "/pages/:path*")
    findings = await visit_app(app, GATEWAY_PORT=PORT, RUNNER_PUBLIC_BASE="/shop/pages")
    assert {finding.level for finding in of(findings, "next")} == {Level.OK}


async def test_localhost_is_trouble_where_the_gateway_is_not_first(app: Path) -> None:
    # Whichever family comes first on this machine, the gateway listens on the other one.
    first = (await localhost_addresses())[0]
    change(app, "127.0.0.1", "localhost")
    other = "::1" if first == "127.0.0.1" else "127.0.0.1"
    findings = await visit_app(app, GATEWAY_PORT=PORT, GATEWAY_HOST=other)
    assert other in the_one(findings, "next", "lead to localhost").fix


async def test_a_folder_without_a_configuration_is_an_app_only_when_it_is_said_to_be(
    tmp_path: Path,
) -> None:
    assert of(await visit(), "next") == []
    found = the_one(await visit_app(tmp_path), "next", "no next.config.js")
    assert found.level is Level.FAILED


async def test_a_configuration_that_cannot_be_read_is_said_to_be_unchecked(app: Path) -> None:
    (app / "next.config.mjs").write_bytes(b"\xff")
    (found,) = of(await visit_app(app), "next")
    assert found.level is Level.WARNING
    assert "not checked" in found.what
