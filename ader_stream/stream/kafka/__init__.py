"""The base of the transport: clients, records, producing, reading, following, rights."""
