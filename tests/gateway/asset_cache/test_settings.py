"""The cache is on by default, in memory, and a reload can change both."""

from pathlib import Path

import pytest

from gateway.settings import SettingsError, changed, load, restart_needed
from tests.gateway.asset_cache.rig import MIB


def test_the_defaults() -> None:
    settings = load({})
    assert (settings.asset_cache_bytes, settings.asset_cache_dir) == (128 * MIB, None)


def test_both_follow_a_reload() -> None:
    told = load({"GATEWAY_ASSET_CACHE_MB": "0", "GATEWAY_ASSET_CACHE_DIR": "kept"})
    assert (told.asset_cache_bytes, told.asset_cache_dir) == (0, Path("kept"))
    assert changed(load({}), told) == ("GATEWAY_ASSET_CACHE_MB", "GATEWAY_ASSET_CACHE_DIR")
    assert restart_needed(load({}), told) == ()


@pytest.mark.parametrize("text", ["-1", "1.5", "65537", "128MB"])
def test_nothing_but_whole_mebibytes_is_taken(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"GATEWAY_ASSET_CACHE_MB": text})
    assert [problem.variable for problem in refused.value.problems] == ["GATEWAY_ASSET_CACHE_MB"]
