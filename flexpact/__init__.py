"""The entrance: command line, clock, certificates, demo, migrations. Above all; nobody imports it."""

__version__ = "0.1.0"
