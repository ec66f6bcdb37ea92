"""The transport: Kafka, no torch."""
