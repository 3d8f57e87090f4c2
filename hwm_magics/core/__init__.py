"""The pure heart: what a load is, what is decided about it and why. No I/O, no clock, no engine."""
