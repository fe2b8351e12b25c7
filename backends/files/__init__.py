"""Files that other processes read and write meanwhile."""
