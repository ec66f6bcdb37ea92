"""One input partition = one state = one producer = one transaction."""
