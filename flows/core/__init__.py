"""What decides: pure functions and state machines, without I/O, clock, chance or logging."""
