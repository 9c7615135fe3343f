"""The training engine: store, draws, crops, losses, loop, windows and the way to native masks.

The only folder of `evaluation` that needs torch; nothing else here imports it at import time.
"""
