"""Alert rules evaluated in event time: signals, windows, conditions. Pure."""
