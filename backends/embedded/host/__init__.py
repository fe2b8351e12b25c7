"""What a guest may ask of its host: one module per capability."""
