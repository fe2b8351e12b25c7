"""The embedded backend with its guests in processes of their own: an engine that crashes takes
the calls that it was running with it, and not the gateway."""
