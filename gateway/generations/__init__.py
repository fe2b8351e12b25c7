"""One generation after the other: opened, probed, warmed, switched to, and recorded."""
