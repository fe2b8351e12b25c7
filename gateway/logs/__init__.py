"""Log lines, from the event to the descriptor, and to whoever watches."""
