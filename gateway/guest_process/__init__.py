"""Processes that run guests for this gateway: how one is started, and what it does."""
