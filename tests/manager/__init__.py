"""Tests of the Manager and of its parts."""
