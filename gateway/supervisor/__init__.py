"""Several worker processes on one port, started, watched and switched together."""
