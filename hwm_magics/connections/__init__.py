"""What a load can connect to: one module a family, the secrets, and the registry of names."""
