"""Policy in front of every handler: one file, one idea, one factory."""
