"""Tests of what shows runs: timelines, traces and the live view."""
