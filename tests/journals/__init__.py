"""Tests of journals: the codec, envelopes, and what is kept under kills, damage and rivals."""
