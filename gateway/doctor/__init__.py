"""Checks the whole stack: what is wrong with it, why that matters, and how to mend it."""
