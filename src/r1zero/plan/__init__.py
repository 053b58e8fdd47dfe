"""Plan: how a run is laid out on the hardware there is. The layout never changes the algorithm."""
