"""Promptable models under stress: what becomes of a mask when the words of the prompt change."""
