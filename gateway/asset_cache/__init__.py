"""A cache for UI files: keeps verified bytes, and gives them to callers a runner has allowed."""
