"""Runs extensions inside this process: a WebAssembly engine and the bundle's own files."""
