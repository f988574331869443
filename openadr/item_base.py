"""itemBase: the unit of a signal's, a baseline's or a report's values."""

from dataclasses import dataclass, field
from decimal import Decimal

from openadr.enums import SiScaleCode
from openadr.wire import xml


@dataclass(frozen=True, slots=True)
class XmlNode:
    """A piece of foreign XML (a Green Button feed) as a value: equal where the XML means the same.

    Names are in Clark form (`{namespace}local`), attributes sorted, white space between elements left out;
    the value of an `xsi:type` is in Clark form too, so that no prefix is needed to read it.
    """

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""
    children: tuple["XmlNode", ...] = ()
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAttributes:
    """Of a power unit: mains frequency in Hz, voltage in V, alternating or direct current."""

    hertz: Decimal = field(metadata=xml("power:hertz"))
    voltage: Decimal = field(metadata=xml("power:voltage"))
    ac: bool = field(metadata=xml("power:ac"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBase:
    """A unit. `kind` is its element name (`powerReal`, `energyReal`, `currencyPerKWh`, ...).

    Values are multiplied by `si_scale_code.factor` to get `item_units` (SGN-03). The schema fixes description
    and units of most kinds: use the constructors below.
    """

    kind: str = field(metadata=xml("?"))
    item_description: str | None = field(default=None, metadata=xml(":itemDescription", keep_empty=True))
    item_units: str | None = field(default=None, metadata=xml(":itemUnits", keep_empty=True))
    si_scale_code: SiScaleCode | None = field(default=None, metadata=xml("scale:siScaleCode"))
    power_attributes: PowerAttributes | None = field(default=None, metadata=xml("power:powerAttributes"))
    pulse_factor: float | None = field(default=None, metadata=xml("oadr:pulseFactor"))
    feed: XmlNode | None = field(default=None, metadata=xml("atom:feed"))

    def __post_init__(self) -> None:
        if self.kind not in UNITS:
            raise ValueError(f"no unit of the standard: {self.kind}")
        needed = _PARTS.get(self.kind, _PLAIN)
        for name in _ALL_PARTS:
            if (getattr(self, name) is not None) is not (name in needed):
                raise ValueError(f"{self.kind} has {', '.join(sorted(needed))} and nothing else; see {name}")

    @classmethod
    def power(
        cls,
        kind: str = "powerReal",
        scale: SiScaleCode = SiScaleCode.NONE,
        *,
        hertz: Decimal | int = 50,
        voltage: Decimal | int = 230,
        ac: bool = True,
    ) -> "ItemBase":
        """Power in W (`powerReal`), VA (`powerApparent`) or VAR (`powerReactive`)."""
        description, units, _ = UNITS[kind]
        attributes = PowerAttributes(hertz=Decimal(hertz), voltage=Decimal(voltage), ac=ac)
        return cls(
            kind=kind,
            item_description=description,
            item_units=units,
            si_scale_code=scale,
            power_attributes=attributes,
        )

    @classmethod
    def of(cls, kind: str, units: str | None = None, scale: SiScaleCode = SiScaleCode.NONE) -> "ItemBase":
        """Any unit without further attributes; `units` where the schema leaves them open (a currency)."""
        description, fixed_units, _ = UNITS[kind]
        return cls(
            kind=kind, item_description=description, item_units=units or fixed_units, si_scale_code=scale
        )

    @classmethod
    def energy_real(cls, scale: SiScaleCode = SiScaleCode.NONE) -> "ItemBase":
        """Energy in Wh."""
        return cls.of("energyReal", scale=scale)

    @classmethod
    def pulse_count(cls, kwh_per_count: float) -> "ItemBase":
        """Pulses of a meter."""
        return cls(
            kind="pulseCount",
            item_description="pulse count",
            item_units="count",
            pulse_factor=kwh_per_count,
        )

    @classmethod
    def custom(cls, description: str, units: str, scale: SiScaleCode = SiScaleCode.NONE) -> "ItemBase":
        """A unit of our own."""
        return cls(kind="customUnit", item_description=description, item_units=units, si_scale_code=scale)


# kind -> description and units that the schema fixes or proposes, prefix of the element
UNITS: dict[str, tuple[str | None, str | None, str]] = {
    "powerReal": ("RealPower", "W", "power"),
    "powerApparent": ("ApparentPower", "VA", "power"),
    "powerReactive": ("ReactivePower", "VAR", "power"),
    "energyReal": ("RealEnergy", "Wh", "power"),
    "energyApparent": ("ApparentEnergy", "VAh", "power"),
    "energyReactive": ("ReactiveEnergy", "VARh", "power"),
    "voltage": ("Voltage", "V", "power"),
    "current": ("Current", "A", "oadr"),
    "frequency": ("Frequency", "Hz", "oadr"),
    "Therm": ("Therm", "thm", "oadr"),
    "temperature": ("temperature", "celsius", "oadr"),
    "currency": ("currency", None, "oadr"),
    "currencyPerKWh": ("currencyPerKWh", None, "oadr"),
    "currencyPerKW": ("currencyPerKW", None, "oadr"),
    # the shared list of descriptions has no word for it (Appendix D.13)
    "currencyPerThm": ("currency", None, "oadr"),
    "pulseCount": ("pulse count", "count", "oadr"),
    "customUnit": (None, None, "oadr"),
    "oadrGBDataDescription": (None, None, "oadr"),
}
_PLAIN = frozenset({"item_description", "item_units", "si_scale_code"})
_PARTS = {
    "powerReal": _PLAIN | {"power_attributes"},
    "powerApparent": _PLAIN | {"power_attributes"},
    "powerReactive": _PLAIN | {"power_attributes"},
    "pulseCount": frozenset({"item_description", "item_units", "pulse_factor"}),
    "oadrGBDataDescription": frozenset({"feed"}),
}
_ALL_PARTS = ("item_description", "item_units", "si_scale_code", "power_attributes", "pulse_factor", "feed")
# the last two are abstract: they are read (with xsi:type), never written
ITEM_BASE = (
    *(f"{prefix}:{kind}" for kind, (_, _, prefix) in UNITS.items()),
    "power:powerItem",
    "power:energyItem",
)
