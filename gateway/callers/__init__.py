"""Who calls: keys of identity providers, and the tenants that iframes ask for."""
