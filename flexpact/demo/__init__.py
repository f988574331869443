"""One day of a whole platform on this machine: real processes on loopback, an accelerated clock, checks.

The demo stands outside the platform: it starts processes, reads the aggregator's control socket as an
operator would, and knows the truth from the simulator alone.
"""
