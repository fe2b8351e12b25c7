"""Looks at the whole stack: says what is wrong with it, why, and how to mend it."""
