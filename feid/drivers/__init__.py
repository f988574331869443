"""Drivers: how the box reaches meters and devices. Each is a `feid.devices.Driver`."""
