"""Trying a component when it is installed."""

from pathlib import Path

from backends.embedded.engine import WasmEngine
from backends.embedded.trial import problem_with
from backends.settings import EmbeddedSettings
from tests.backends.embedded import wat


async def test_a_component_that_can_be_called_has_no_problem(tmp_path: Path) -> None:
    assert (
        await problem_with(EmbeddedSettings(bundle_dir=tmp_path), wat.install(tmp_path, wat.ECHO))
        is None
    )
    assert not (tmp_path / "compiled").exists()


async def test_an_import_that_is_not_in_the_world_is_named(tmp_path: Path) -> None:
    refused = wat.install(tmp_path, wat.importing("wasi:http/types@0.2.0"))
    assert await problem_with(EmbeddedSettings(bundle_dir=tmp_path), refused) == (
        "execute_link_failed: interface wasi:http/types@0.2.0 is not in the world;"
        " build without it, and ask other hosts through alga:extension/http"
    )


async def test_what_is_no_component_is_a_problem_in_one_line(tmp_path: Path) -> None:
    problem = await problem_with(
        EmbeddedSettings(bundle_dir=tmp_path), wat.install(tmp_path, b"\0asm no component")
    )
    assert problem is not None
    assert problem.startswith("execute_failed: compile: ")
    assert "\n" not in problem


async def test_a_component_that_the_compiler_has_no_room_for_is_told_who_decides(
    tmp_path: Path,
) -> None:
    content_hash = wat.install(tmp_path, f"(component (core module {'(func)' * 30_000}))")
    settings = EmbeddedSettings(bundle_dir=tmp_path, compile_memory_mb=64)
    assert await problem_with(settings, content_hash) == (
        "execute_failed: compile: it takes more than 64 MiB of memory (RUNNER_COMPILE_MEMORY_MB)"
    )
    problem = await problem_with(EmbeddedSettings(bundle_dir=tmp_path), content_hash)
    assert problem is not None
    assert problem.startswith("execute_no_handler")


async def test_a_bundle_that_is_gone_says_nothing_about_its_component(tmp_path: Path) -> None:
    assert await problem_with(EmbeddedSettings(bundle_dir=tmp_path), "sha256:" + "0" * 64) is None


async def test_the_code_is_kept_where_a_gateway_of_the_same_user_keeps_it(tmp_path: Path) -> None:
    engine = WasmEngine(max_guests=1)
    (tmp_path / "compiled" / engine.fingerprint).mkdir(mode=0o700, parents=True)
    engine.close()
    await problem_with(EmbeddedSettings(bundle_dir=tmp_path), wat.install(tmp_path, wat.ECHO))
    assert len(kept(tmp_path)) == 1


def kept(root: Path) -> list[Path]:
    return list(root.rglob("*.cwasm"))
