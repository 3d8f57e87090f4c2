"""Loads as artefacts for others to run: a clean notebook, a script, a scheduler's own files."""

TARGETS = ("ipynb", "py", "airflow", "databricks", "github-actions", "cron")
"""What there is to export to."""
