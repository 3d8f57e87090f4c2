"""Loads as things that are started, watched, cancelled and reported: the same for cell, call and shell."""
