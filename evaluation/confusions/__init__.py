"""What judges any model's masks by names alone: sides exchanged, neighbours of a row confused."""
