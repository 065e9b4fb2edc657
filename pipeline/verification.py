"""Checks a finished run."""
