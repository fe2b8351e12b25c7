"""Compiling within bounds: real processes, and components made to take more than they may."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from backends.embedded.compiling import MAX_CPU_S, compiled
from backends.embedded.failures import GuestFailed
from tests.backends.embedded import wat

reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
bounds_memory = pytest.mark.skipif(sys.platform == "darwin", reason="macOS bounds no memory")

WHERE_MEMORY_CANNOT_BE_BOUNDED = """
import resource, runpy, sys

def refusing(what, limits, setrlimit=resource.setrlimit):
    if what == resource.RLIMIT_DATA:
        raise ValueError("current limit exceeds maximum limit")
    setrlimit(what, limits)

resource.setrlimit = refusing
runpy.run_module("backends.embedded.compile_child", run_name="__main__", alter_sys=True)
"""

STARTER = """
import asyncio, sys
from pathlib import Path
from backends.embedded.compiling import compiled
asyncio.run(compiled(Path(sys.argv[1]), max_memory_mb=int(sys.argv[2])))
"""

ENDLESS_CODE = """
import sys
written = 0
while sys.stdout.buffer.write(bytes(65536)):
    written += 1
    if written == 64: open('"""

FUNCTIONS = 30_000
MEMORY_MB = 768
"""Empty ones: 120 KB of component, some 250 MB and more than a second of CPU time to compile."""


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("greedy"), many_functions(FUNCTIONS))


def many_functions(count: int) -> str:
    return f"(component (core module {'(func)' * count}))"


def written(folder: Path, text: str) -> Path:
    path = folder / "main.wasm"
    path.write_bytes(wat2wasm(text))
    return path


def compilers_of(component: Path) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended since
            if str(component).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(process)
    return found


def compilers_of_others(component: Path, starter: int) -> list[Path]:
    return [each for each in compilers_of(component) if int(each.name) != starter]


async def refusal(
    component: Path, *, max_memory_mb: int = MEMORY_MB, max_cpu_s: int = MAX_CPU_S
) -> tuple[str, str]:
    with pytest.raises(GuestFailed) as caught:
        await compiled(component, max_memory_mb=max_memory_mb, max_cpu_s=max_cpu_s)
    return caught.value.error, caught.value.detail


@bounds_memory
async def test_more_memory_than_allowed_is_refused_without_a_word_on_standard_error(
    greedy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    detail = "compile: it takes more than 100 MiB of memory (RUNNER_COMPILE_MEMORY_MB)"
    assert await refusal(greedy, max_memory_mb=100) == ("execute_failed", detail)
    assert capfd.readouterr() == ("", "")


async def test_more_cpu_time_than_allowed_is_refused(tmp_path: Path) -> None:
    component = written(tmp_path, many_functions(4 * FUNCTIONS))
    detail = "compile: it takes more than 1 s of CPU time"
    assert await refusal(component, max_cpu_s=1) == ("execute_failed", detail)


@reads_proc
async def test_one_that_hangs_is_ended(greedy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No component is known that makes it hang, so no time at all stands in.
    monkeypatch.setattr("backends.embedded.compiling.DEADLINE_S", 0.0)
    assert await refusal(greedy) == ("execute_failed", "compile: it takes more than 0 s")
    assert not compilers_of(greedy)


async def test_what_is_no_component_is_told_as_the_compiler_says_it(tmp_path: Path) -> None:
    (tmp_path / "main.wasm").write_bytes(b"\0asm no component")
    error, detail = await refusal(tmp_path / "main.wasm")
    assert error == "execute_failed"
    assert detail.startswith("compile: ")
    assert "magic" in detail or "version" in detail


async def test_a_process_that_cannot_work_is_no_fault_of_the_component(tmp_path: Path) -> None:
    error, detail = await refusal(tmp_path / "missing.wasm")
    assert error == "engine_init_failed"
    assert "No such file" in detail


@reads_proc
async def test_one_that_the_system_ends_for_want_of_memory_is_no_fault_of_the_component(
    greedy: Path,
) -> None:
    task = asyncio.create_task(refusal(greedy))
    while not (compilers := compilers_of(greedy)):  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.001)
    os.kill(int(compilers[0].name), signal.SIGKILL)
    error, detail = await task
    assert (error, "without memory" in detail) == ("engine_init_failed", True)


async def test_one_that_the_system_gives_no_threads_is_no_fault_of_the_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The limit is no test's to set; a thread that wants so large a stack is refused, too.
    monkeypatch.setenv("RUST_MIN_STACK", str(2**50))
    error, detail = await refusal(written(tmp_path, wat.ECHO))
    assert (error, "no threads" in detail) == ("engine_init_failed", True)


@reads_proc
async def test_nothing_goes_on_compiling_for_nobody(greedy: Path) -> None:
    task = asyncio.create_task(compiled(greedy, max_memory_mb=MEMORY_MB))
    while not compilers_of(greedy):  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not compilers_of(greedy)


@reads_proc
async def test_a_compiler_ends_with_the_process_that_waits_for_it(greedy: Path) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(greedy), str(MEMORY_MB)
    )
    while not (compilers := compilers_of_others(greedy, starter.pid)):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    (compiler,) = compilers
    adjusted = compiler / "oom_score_adj"  # after it has asked to end with its parent
    while adjusted.read_text() != "1000\n":  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    os.kill(int(compiler.name), signal.SIGSTOP)  # else it would end by itself, in a second or two
    starter.kill()
    await starter.wait()
    async with asyncio.timeout(30):
        while compiler in compilers_of(greedy):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_compiler_that_nobody_waits_for_any_more_does_not_begin(tmp_path: Path) -> None:
    somebody_else = str(os.getppid())
    child = subprocess.run(
        [
            *(sys.executable, "-m", "backends.embedded.compile_child"),
            *(written(tmp_path, wat.ECHO), "64", "15", somebody_else),
        ],
        capture_output=True,
        timeout=60,
    )
    assert (child.returncode, child.stdout) == (os.EX_UNAVAILABLE, b"")


async def test_one_that_is_cancelled_amid_its_output_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No component has endless code, and of any other the moment cannot be met.
    compiler, flows = tmp_path / "compiler", tmp_path / "flows"
    compiler.write_text(f"#!{sys.executable}\n{ENDLESS_CODE}{flows}', 'w')\n")
    compiler.chmod(0o700)
    monkeypatch.setattr("backends.embedded.compiling.sys.executable", str(compiler))
    for _ in range(8):  # one time in two it would have ended all the same
        task = asyncio.create_task(compiled(tmp_path / "main.wasm", max_memory_mb=MEMORY_MB))
        while not flows.exists():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.001)
        flows.unlink()
        task.cancel()
        done, _ = await asyncio.wait((task,), timeout=30)
        assert done
        assert task.cancelled()


async def test_the_sample_stays_far_from_its_bounds() -> None:
    sample = Path(__file__).parents[3] / "examples" / "hello" / "dist" / "main.wasm"
    assert await compiled(sample, max_memory_mb=192, max_cpu_s=15)


async def test_a_small_component_is_compiled(tmp_path: Path) -> None:
    assert await compiled(written(tmp_path, wat.ECHO), max_memory_mb=64)


def test_a_system_that_refuses_the_bound_on_memory_compiles_all_the_same(tmp_path: Path) -> None:
    # As macOS does; here no bound is refused, so the child is told so.
    child = subprocess.run(
        [
            *(sys.executable, "-c", WHERE_MEMORY_CANNOT_BE_BOUNDED),
            *(written(tmp_path, wat.ECHO), "64", "15", str(os.getpid())),
        ],
        capture_output=True,
        timeout=60,
    )
    assert (child.returncode, child.stderr) == (0, b"")
    assert child.stdout
