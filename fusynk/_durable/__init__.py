"""What keeps things over the death of a process: locks of the system, and checked files of SQLite."""
