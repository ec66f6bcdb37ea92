"""What every process needs: HTTP, logs, exit codes, cores, memory, disk."""
