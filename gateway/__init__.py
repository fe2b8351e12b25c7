"""The product: settings in, application out; the only package that wires the others."""
