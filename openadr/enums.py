"""The standard's lists of words.

Closed lists are types of fields. Open lists (signal name, report name, report type, reading type, opt reason,
data quality) may be extended by `x-...` words: the field is text, the class here names the words of the
standard.
"""

from enum import StrEnum


class EventStatus(StrEnum):
    """Where an event stands in its life. `none` is in the schema and never sent (EVT-09)."""

    NONE = "none"
    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class OptType(StrEnum):
    """Whether a VEN takes part."""

    OPT_IN = "optIn"
    OPT_OUT = "optOut"


class ResponseRequired(StrEnum):
    """Whether the VEN answers each time it receives the event (VEX-01)."""

    ALWAYS = "always"
    NEVER = "never"


class ProfileName(StrEnum):
    """OpenADR profiles."""

    A = "2.0a"
    B = "2.0b"


class TransportName(StrEnum):
    """Transports of the profiles."""

    SIMPLE_HTTP = "simpleHttp"
    XMPP = "xmpp"


class ServiceName(StrEnum):
    """Services, each with an endpoint of its own."""

    EI_EVENT = "EiEvent"
    EI_OPT = "EiOpt"
    EI_REPORT = "EiReport"
    EI_REGISTER_PARTY = "EiRegisterParty"
    OADR_POLL = "OadrPoll"


class SignalType(StrEnum):
    """Meaning of a signal's values; a closed list (Appendix D.7)."""

    DELTA = "delta"
    LEVEL = "level"
    MULTIPLIER = "multiplier"
    PRICE = "price"
    PRICE_MULTIPLIER = "priceMultiplier"
    PRICE_RELATIVE = "priceRelative"
    SETPOINT = "setpoint"
    LOAD_CONTROL_CAPACITY = "x-loadControlCapacity"
    LOAD_CONTROL_LEVEL_OFFSET = "x-loadControlLevelOffset"
    LOAD_CONTROL_PERCENT_OFFSET = "x-loadControlPercentOffset"
    LOAD_CONTROL_SETPOINT = "x-loadControlSetpoint"


class SiScaleCode(StrEnum):
    """Power of ten that a value is multiplied by (SGN-03)."""

    PICO = "p"
    NANO = "n"
    MICRO = "micro"
    MILLI = "m"
    CENTI = "c"
    DECI = "d"
    KILO = "k"
    MEGA = "M"
    GIGA = "G"
    TERA = "T"
    NONE = "none"

    @property
    def factor(self) -> float:
        """What to multiply a value with to get it in the plain unit."""
        return _FACTORS[self]


_FACTORS = {
    SiScaleCode.PICO: 1e-12,
    SiScaleCode.NANO: 1e-9,
    SiScaleCode.MICRO: 1e-6,
    SiScaleCode.MILLI: 1e-3,
    SiScaleCode.CENTI: 1e-2,
    SiScaleCode.DECI: 1e-1,
    SiScaleCode.NONE: 1.0,
    SiScaleCode.KILO: 1e3,
    SiScaleCode.MEGA: 1e6,
    SiScaleCode.GIGA: 1e9,
    SiScaleCode.TERA: 1e12,
}


class SignalName(StrEnum):
    """Signals of the standard (open list)."""

    SIMPLE = "SIMPLE"
    SIMPLE_LOWER = "simple"
    ELECTRICITY_PRICE = "ELECTRICITY_PRICE"
    ENERGY_PRICE = "ENERGY_PRICE"
    DEMAND_CHARGE = "DEMAND_CHARGE"
    BID_PRICE = "BID_PRICE"
    BID_LOAD = "BID_LOAD"
    BID_ENERGY = "BID_ENERGY"
    CHARGE_STATE = "CHARGE_STATE"
    LOAD_DISPATCH = "LOAD_DISPATCH"
    LOAD_CONTROL = "LOAD_CONTROL"


class ReportName(StrEnum):
    """Reports of the standard (open list)."""

    METADATA_HISTORY_USAGE = "METADATA_HISTORY_USAGE"
    HISTORY_USAGE = "HISTORY_USAGE"
    METADATA_HISTORY_GREENBUTTON = "METADATA_HISTORY_GREENBUTTON"
    HISTORY_GREENBUTTON = "HISTORY_GREENBUTTON"
    METADATA_TELEMETRY_USAGE = "METADATA_TELEMETRY_USAGE"
    TELEMETRY_USAGE = "TELEMETRY_USAGE"
    METADATA_TELEMETRY_STATUS = "METADATA_TELEMETRY_STATUS"
    TELEMETRY_STATUS = "TELEMETRY_STATUS"


class ReportType(StrEnum):
    """What a data point is (open list)."""

    READING = "reading"
    USAGE = "usage"
    DEMAND = "demand"
    SET_POINT = "setPoint"
    DELTA_USAGE = "deltaUsage"
    DELTA_SET_POINT = "deltaSetPoint"
    DELTA_DEMAND = "deltaDemand"
    BASELINE = "baseline"
    DEVIATION = "deviation"
    AVG_USAGE = "avgUsage"
    AVG_DEMAND = "avgDemand"
    OPERATING_STATE = "operatingState"
    UP_REGULATION_CAPACITY_AVAILABLE = "upRegulationCapacityAvailable"
    DOWN_REGULATION_CAPACITY_AVAILABLE = "downRegulationCapacityAvailable"
    REGULATION_SETPOINT = "regulationSetpoint"
    STORED_ENERGY = "storedEnergy"
    TARGET_ENERGY_STORAGE = "targetEnergyStorage"
    AVAILABLE_ENERGY_STORAGE = "availableEnergyStorage"
    PRICE = "price"
    LEVEL = "level"
    POWER_FACTOR = "powerFactor"
    PERCENT_USAGE = "percentUsage"
    PERCENT_DEMAND = "percentDemand"
    RESOURCE_STATUS = "x-resourceStatus"


class ReadingType(StrEnum):
    """How a value came about (open list)."""

    DIRECT_READ = "Direct Read"
    NET = "Net"
    ALLOCATED = "Allocated"
    ESTIMATED = "Estimated"
    SUMMED = "Summed"
    DERIVED = "Derived"
    MEAN = "Mean"
    PEAK = "Peak"
    HYBRID = "Hybrid"
    CONTRACT = "Contract"
    PROJECTED = "Projected"
    RMS = "x-RMS"
    NOT_APPLICABLE = "x-notApplicable"


class OptReason(StrEnum):
    """Why a VEN opts (open list)."""

    ECONOMIC = "economic"
    EMERGENCY = "emergency"
    MUST_RUN = "mustRun"
    NOT_PARTICIPATING = "notParticipating"
    OUTAGE_RUN_STATUS = "outageRunStatus"
    OVERRIDE_STATUS = "overrideStatus"
    PARTICIPATING = "participating"
    SCHEDULE = "x-schedule"


class DataQuality(StrEnum):
    """Quality of a reported value (open list)."""

    NO_VALUE = "No Quality - No Value"
    PREVIOUS_VALUE = "No New Value - Previous Value Used"
    BAD = "Quality Bad - Non Specific"
    BAD_CONFIGURATION = "Quality Bad - Configuration Error"
    BAD_NOT_CONNECTED = "Quality Bad - Not Connected"
    BAD_DEVICE_FAILURE = "Quality Bad - Device Failure"
    BAD_SENSOR_FAILURE = "Quality Bad - Sensor Failure"
    BAD_LAST_KNOWN_VALUE = "Quality Bad - Last Known Value"
    BAD_COMM_FAILURE = "Quality Bad - Comm Failure"
    BAD_OUT_OF_SERVICE = "Quality Bad - Out of Service"
    UNCERTAIN = "Quality Uncertain - Non Specific"
    UNCERTAIN_LAST_USABLE_VALUE = "Quality Uncertain - Last Usable Value"
    UNCERTAIN_SENSOR_NOT_ACCURATE = "Quality Uncertain - Sensor Not Accurate"
    UNCERTAIN_EU_UNITS_EXCEEDED = "Quality Uncertain - EU Units Exceeded"
    UNCERTAIN_SUB_NORMAL = "Quality Uncertain - Sub Normal"
    GOOD = "Quality Good - Non Specific"
    GOOD_LOCAL_OVERRIDE = "Quality Good - Local Override"
    LIMIT_NOT = "Quality Limit - Field/Not"
    LIMIT_LOW = "Quality Limit - Field/Low"
    LIMIT_HIGH = "Quality Limit - Field/High"
    LIMIT_CONSTANT = "Quality Limit - Field/Constant"
