"""The verbs of `python -m gateway`: each reads settings, calls who does the work, and reports."""
