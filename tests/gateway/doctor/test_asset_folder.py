"""The folder of kept UI files, as an operator may have got it wrong."""

from pathlib import Path

from gateway.doctor.findings import Level
from tests.gateway.doctor.rig import of, visit


async def test_a_folder_that_can_be_made_is_well_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "kept"
    (found,) = of(await visit(GATEWAY_ASSET_CACHE_DIR=str(folder)), "cache")
    assert found.level is Level.OK
    assert not folder.parent.exists()


async def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = await visit(GATEWAY_ASSET_CACHE_DIR=str(tmp_path / "file"))
    (found,) = of(findings, "cache")
    assert found.level is Level.WARNING
    assert "GATEWAY_ASSET_CACHE_DIR" in found.fix


async def test_a_folder_that_is_not_used_is_told(tmp_path: Path) -> None:
    told = {"GATEWAY_ASSET_CACHE_MB": "0", "GATEWAY_ASSET_CACHE_DIR": str(tmp_path)}
    (found,) = of(await visit(**told), "cache")
    assert found.level is Level.WARNING


async def test_without_a_folder_there_is_nothing_to_say() -> None:
    assert of(await visit(), "cache") == []
