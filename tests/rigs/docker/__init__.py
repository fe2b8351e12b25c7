"""A Docker engine for tests: the one that answers, or one of our own that leaves no trace.

`python -m tests.rigs.docker` starts it and says how to use it, until Ctrl-C.
"""
