"""Foldboard: from a competition's files to a submission the leaderboard accepts."""
