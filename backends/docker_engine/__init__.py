"""What a Docker engine says about the runner's containers; read only, over its own API."""
