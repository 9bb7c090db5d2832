"""An independent model of the scheduler, and random cases to hold it against the real one."""
