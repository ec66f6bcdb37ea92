"""Transactions: requests that are repeated or given up, and the producer that sends them."""
