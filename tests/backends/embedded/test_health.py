"""What health says when this process, and not the bundle folder, is at its limit."""

import resource
from pathlib import Path

from backends.contract import Readiness
from backends.embedded.backend import EmbeddedBackend
from backends.settings import EmbeddedSettings


async def test_a_full_table_of_open_files_is_not_held_against_the_bundle_folder(
    tmp_path: Path,
) -> None:
    backend = await EmbeddedBackend.open(EmbeddedSettings(bundle_dir=tmp_path / "bundles"))
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        health = await backend.health()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (health.readiness, health.detail) == (Readiness.DOWN, "open_files_exhausted")
    await backend.aclose()
