"""Where runs are recorded, so that they outlive their process."""
