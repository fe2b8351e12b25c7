"""What compiled code depends on besides its source: the same where it is made and where it runs."""

import wasmtime
from wasmtime import _bindings as c  # settings that the binding's Config does not offer

NAMES = "epoch_interruption=1 threads=0 component_model_async=0 concurrency_support=0"
"""For the fingerprint: keep it in step with `config`."""


def config() -> wasmtime.Config:
    """The settings of an engine; where its instances get memory from changes no code."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.wasm_threads = False  # an atomic wait cannot be interrupted
    c.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)
    # A call can be left and taken up again without it, and is faster.
    c.wasmtime_config_concurrency_support_set(config.ptr(), False)
    return config
