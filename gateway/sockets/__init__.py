"""The sockets that clients connect to: opened, inherited, handed over."""
