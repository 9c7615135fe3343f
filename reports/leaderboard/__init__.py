"""The leaderboard: one HTML file that works from disk."""
