"""The only run loop: one task group, slots that run steps inline, one timer."""
