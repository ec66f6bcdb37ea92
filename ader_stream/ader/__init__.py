"""The method: torch, no Kafka."""
