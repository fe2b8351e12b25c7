"""Where this process is in its own life."""

from dataclasses import dataclass


@dataclass(slots=True)
class State:
    stopping: bool = False  # asked to stop: finish what runs, be ready for nothing new
    open_files_exhausted: bool = False  # so that no connection can be accepted
