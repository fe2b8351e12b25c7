"""The JSON of POST /v1/execute, both directions: pure."""
