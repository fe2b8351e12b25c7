"""What an extension id means right now, for one tenant."""
