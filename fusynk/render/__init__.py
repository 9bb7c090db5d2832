"""Texts and drawings of plans and runs."""
