"""The formats of a record's value, and reading fields from them."""
