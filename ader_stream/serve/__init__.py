"""Ranking, session prefixes and HTTP for the workers: no Kafka."""
