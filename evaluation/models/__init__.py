"""Models: cards, the protocol, the three adapters, running, and controls."""
