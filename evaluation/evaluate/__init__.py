"""`satbench evaluate`: scores for anybody's predictions, matched by file name."""
