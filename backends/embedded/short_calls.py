"""The engine's functions that take less than a microsecond, called without releasing the GIL.

The binding releases the interpreter lock around every call. For a call that is shorter than the
hand-over this only makes threads queue for the lock, some fifty times for one guest's request.
Functions that run guests, compile, or free what may be large are not here.
"""

import ctypes
from typing import Any, Final

from wasmtime import _bindings as c
from wasmtime import _ffi as ffi

_library: Final = ctypes.PyDLL(ffi.dll._name, handle=ffi.dll._handle)


def _short(name: str) -> Any:
    """The same function, with the types that the binding gives it."""
    known = getattr(c, f"_{name}")
    function = getattr(_library, name)
    function.restype, function.argtypes = known.restype, known.argtypes
    return function


NO_FINALIZER: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
"""For what the engine is handed with nothing to free behind it."""

byte_vec_new: Final = _library.wasm_byte_vec_new
"""Takes the vector's address, a size, and bytes: nothing has to be cast."""
byte_vec_new.restype, byte_vec_new.argtypes = (
    None,
    (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p),
)
val_new: Final = _short("wasmtime_component_val_new")
vallist_new_uninit: Final = _short("wasmtime_component_vallist_new_uninit")
valrecord_new_uninit: Final = _short("wasmtime_component_valrecord_new_uninit")
valtuple_new_uninit: Final = _short("wasmtime_component_valtuple_new_uninit")
epoch_deadline_callback: Final = _short("wasmtime_store_epoch_deadline_callback")
store_context: Final = _short("wasmtime_store_context")
store_limiter: Final = _short("wasmtime_store_limiter")
set_epoch_deadline: Final = _short("wasmtime_context_set_epoch_deadline")
instance_get_func: Final = _short("wasmtime_component_instance_get_func")
increment_epoch: Final = _short("wasmtime_engine_increment_epoch")
