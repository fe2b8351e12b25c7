"""Bundles: packed, verified, extracted, and kept by the hash of their bytes."""
