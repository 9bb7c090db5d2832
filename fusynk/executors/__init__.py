"""Where the functions of attempts run."""
