"""The process around the work: HTTP, logs, exit codes, cores, memory, disk."""
