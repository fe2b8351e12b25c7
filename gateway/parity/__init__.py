"""Whether every backend that these settings can reach answers alike: the verb `parity`."""
