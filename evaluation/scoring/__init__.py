"""From masks to score rows: pairs are found in a run or in two folders, and measured one way."""
