"""From the texts of an environment to typed settings, and what contradicts what."""
