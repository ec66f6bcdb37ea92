"""Topics: names, creation, configuration, replication, identity."""
