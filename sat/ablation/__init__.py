"""What knowledge is worth on a small run: four ways to give a class to the network, three seeds."""
