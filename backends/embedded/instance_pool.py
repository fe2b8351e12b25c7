"""Sets up the pool that instances get memory from: a fresh one for each call costs page faults.

What one guest has written is wiped before the next one gets it. The first bytes of a memory are
wiped by copying their initial state over them, which is cheaper than page faults; the pages
behind them are given back to the kernel.
"""

import mmap
from typing import Any

import wasmtime
from wasmtime import _bindings as c  # the binding's Config does not offer this

MAX_MEMORIES = 4
"""Memories of one guest, each up to its limit; today's language runtimes have one or two."""

MAX_TABLE_ELEMENTS = 1_000_000
_MAX_TABLES = 64
_NOT_COUNTED = 1_000_000
"""For bounds on instances, which need no memory of the pool: high enough never to be met."""

_WIPED_BY_COPYING_BYTES = 2 * 1_048_576
_TABLE_WIPED_BY_COPYING_BYTES = 65_536
_STACK_WIPED_BY_COPYING_BYTES = 32_768
_MAX_INSTANCE_BYTES = 64 * 1_048_576
_NO_ACCESS = 0
_MEMORY_BYTES = (4 << 30) + (64 << 20)  # all that 32 bits can address, and guards around it
_TABLE_BYTES = MAX_TABLE_ELEMENTS * 8
_STACK_BYTES = 4 << 20
_BESIDES_GUESTS = 2
"""Places for `WasmEngine.probe`, which more than one caller may run at once."""


def has_room(max_guests: int) -> bool:
    """Whether the address space is there. The library ends the process if it is not."""
    memories, tables, stacks = _places(max_guests)
    size = memories * _MEMORY_BYTES + tables * _TABLE_BYTES + stacks * _STACK_BYTES
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=_NO_ACCESS).close()
    except (OSError, ValueError):
        return False
    return True


def pool_instances(config: wasmtime.Config, max_guests: int) -> None:
    """Let `config` reserve address space for `max_guests` at once, some 16 GiB for each.

    Memory is taken only as guests use it.
    """
    pool = c.wasmtime_pooling_allocation_config_new()
    for setting, value in _settings(max_guests).items():
        getattr(c, f"wasmtime_pooling_allocation_config_{setting}_set")(pool, value)
    c.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    c.wasmtime_pooling_allocation_config_delete(pool)


def _places(max_guests: int) -> tuple[int, int, int]:
    guests = max_guests + _BESIDES_GUESTS
    return guests * MAX_MEMORIES, guests * _MAX_TABLES, guests


def _settings(max_guests: int) -> dict[str, Any]:
    memories, tables, stacks = _places(max_guests)
    return {
        "total_component_instances": _NOT_COUNTED,
        "total_core_instances": _NOT_COUNTED,
        "max_component_instance_size": _MAX_INSTANCE_BYTES,
        "max_core_instance_size": _MAX_INSTANCE_BYTES,
        "max_core_instances_per_component": _NOT_COUNTED,
        "total_memories": memories,
        "max_memories_per_component": MAX_MEMORIES,
        "max_memories_per_module": MAX_MEMORIES,
        "linear_memory_keep_resident": _WIPED_BY_COPYING_BYTES,
        "total_tables": tables,
        "max_tables_per_component": _MAX_TABLES,
        "max_tables_per_module": _MAX_TABLES,
        "table_elements": MAX_TABLE_ELEMENTS,
        "table_keep_resident": _TABLE_WIPED_BY_COPYING_BYTES,
        "total_stacks": stacks,
        "async_stack_keep_resident": _STACK_WIPED_BY_COPYING_BYTES,
    }
