"""Commands about the cluster: broker, topics, rights, record schemas, diagnosis."""
