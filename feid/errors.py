"""What can go wrong in the box at the customer.

FeidError
 +- SettingsError        our settings file: the box does not start, because it would start without limits
 +- HistoryTooShortError    not enough readings to forecast from; tried again when there are more

What meters and devices do wrong is `feid.devices.DriverError`.
"""


class FeidError(Exception):
    """Something went wrong in the box."""


class SettingsError(FeidError):
    """The settings file is missing, unreadable or has a value out of range."""


class HistoryTooShortError(FeidError):
    """There are not enough readings to forecast from."""
