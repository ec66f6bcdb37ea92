"""What the transport stands on: clients, transactions, topics, our Avro records."""
