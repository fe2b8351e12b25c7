"""HTTP/1.1 to a runner."""
