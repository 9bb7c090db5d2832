"""Programs that tests run in interpreters of their own; each prints one JSON document."""
