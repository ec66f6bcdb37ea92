"""Avro values: our record types, and the encoding of single values."""
