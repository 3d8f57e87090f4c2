"""Spark itself: its session, its jobs and its errors, on classic Spark and Spark Connect alike.

Importing this package imports no pyspark; using it does.
"""
