"""Is the cluster as it should be? Pure decisions over what the hosts said; nothing here asks a host anything."""
