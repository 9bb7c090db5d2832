"""Tests of fusynk; `fundamentals` reads as a tutorial."""
