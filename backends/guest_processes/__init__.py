"""The embedded backend with its guests in processes of their own: an engine that crashes takes
its running calls with it, but not the gateway."""
