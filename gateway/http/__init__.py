"""What this program puts into and beside aiohttp's server."""
