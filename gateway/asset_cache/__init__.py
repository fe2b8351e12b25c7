"""Answers for UI files that were fetched, verified and allowed before, without the runner."""
