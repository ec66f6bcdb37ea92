"""What Kafka's clients and logs say about a worker's progress, as metrics."""
