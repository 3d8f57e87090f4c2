"""What reads and writes Delta targets: one module an engine behind one contract."""
