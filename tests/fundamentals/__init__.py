"""The library from the beginning, one sentence a test."""
