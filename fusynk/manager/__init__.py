"""The Manager: units that run on demand and on schedules, for as long as their service lives."""
