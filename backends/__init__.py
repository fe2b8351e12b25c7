"""How an extension is run."""
