"""Tables, figures, gallery, leaderboard and export of a run, from its result tables."""
