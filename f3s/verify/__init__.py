"""Is the cluster as it should be? Pure decisions about what the hosts said; nothing here asks a host."""
