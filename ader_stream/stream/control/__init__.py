"""What the control topic says: commands, erasure requests, the rules in force."""
