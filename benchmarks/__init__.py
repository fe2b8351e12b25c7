"""What a request costs, next to what it costs elsewhere: the same work, machine and minute."""
