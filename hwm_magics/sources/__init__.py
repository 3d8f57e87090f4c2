"""Where rows come from: one module a way of reading, all giving exact Arrow batches."""
