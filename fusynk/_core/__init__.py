"""The pure core: declarations, compiler and scheduler. No I/O, no clock, no threads, no event loop."""
