"""Continual session-based recommendation: Kafka clicks in, ADER-trained models out."""
