"""One process from its first moment to its last: signals, event loop, memory, its welcome."""
