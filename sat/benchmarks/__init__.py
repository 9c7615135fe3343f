"""What decisions of SAT-Nano's code save, and one prediction of full size."""
