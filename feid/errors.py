"""What can go wrong in the box at the customer.

FeidError
 +- SettingsError        our settings file: the box does not start, because it would start without limits
 +- HistoryTooShortError    not enough readings to forecast from; tried again when there are more
 +- RecordsError         the aggregator does not give the box its records, or none that can be read

What meters and devices do wrong is `feid.devices.DriverError`.
"""


class FeidError(Exception):
    """Something went wrong in the box."""


class SettingsError(FeidError):
    """The settings file is missing, unreadable or has a value out of range."""


class RecordsError(FeidError):
    """The aggregator gives no records."""


class HistoryTooShortError(FeidError):
    """There are not enough readings to forecast from."""
