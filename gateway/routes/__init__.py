"""What answers where: one module per group of routes."""
