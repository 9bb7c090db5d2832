"""Drawings, read back."""
