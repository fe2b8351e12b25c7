"""What went wrong with a guest, as the one word that the protocol's envelope carries."""

from typing import Any

import wasmtime

_DETAIL_CHARS = 2_000
_OUT_OF_MEMORY = (
    "exceeds memory limits",
    "out of memory",
    "rust_oom",
    "handle_alloc_error",
    "alloc_error_handler",
)
_TOO_MUCH_DATA = "too much data is being copied"


class GuestFailed(Exception):
    """The handler gave no answer.

    Args:
        error: a class such as "execute_trapped", fit for the caller.
        detail: for the log alone; it may quote what the guest's author wrote.
        status: what the envelope says.
    """

    def __init__(self, error: str, detail: str = "", *, status: int = 500) -> None:
        super().__init__(error)
        self.error = error
        self.detail = detail[:_DETAIL_CHARS]
        self.status = status


def raise_if_failed(error: Any) -> None:
    """Turn what a function of the C API returned into WasmtimeError; null is success."""
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


def failed_call(error: wasmtime.WasmtimeError) -> GuestFailed:
    """Classify an error that came out of a guest's code.

    The engine says nothing about a `memory.grow` that it denied, so memory is blamed
    only where the trap's own text or a function on its stack speaks of it; an allocator
    that aborts silently counts as a trap.
    """
    text = str(error)
    if isinstance(error, wasmtime.ExitTrap):
        return GuestFailed("execute_trapped", f"exited with code {error.code}")
    if any(sign in text for sign in _OUT_OF_MEMORY):
        return GuestFailed("execute_out_of_memory", text)
    if "wasm trap:" in text or "wasm backtrace:" in text:
        return GuestFailed("execute_trapped", text)
    if _TOO_MUCH_DATA in text:
        return GuestFailed("execute_invalid_answer", "the answer is larger than the engine moves")
    return GuestFailed("execute_failed", text)


def failed_instantiation(error: wasmtime.WasmtimeError) -> GuestFailed:
    """Classify an error from before the handler was entered."""
    failure = failed_call(error)
    if failure.error != "execute_failed":
        return failure
    return GuestFailed("execute_link_failed", failure.detail)
