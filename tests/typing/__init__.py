"""What two type checkers accept and what they refuse."""
