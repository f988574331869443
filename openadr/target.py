"""Whom or what a message concerns."""

from dataclasses import dataclass, field, replace

from openadr.wire import xml


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceArea:
    """A polygon (GML): corner coordinates in one list, as they came. Ids are XML ids, unique in a message."""

    feature_id: str | None = field(default=None, metadata=xml("@gml:id"))
    polygon_id: str | None = field(default=None, metadata=xml("gml:location/gml:Polygon/@gml:id"))
    positions: tuple[float, ...] = field(
        metadata=xml("gml:location/gml:Polygon/gml:exterior/gml:LinearRing/gml:posList")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportInterface:
    """A connection between two nodes of the grid."""

    point_of_receipt: str = field(metadata=xml("power:pointOfReceipt"))
    point_of_delivery: str = field(metadata=xml("power:pointOfDelivery"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """eiTarget: all members are joined by OR; an empty target of an event is the whole VEN (VEX-14).

    `end_device_asset` holds device classes (TGT-03) and is the only member that a signal's target, a report
    subject and an opt's device class may use.
    """

    aggregated_pnode: tuple[str, ...] = field(default=(), metadata=xml("power:aggregatedPnode*/power:node"))
    end_device_asset: tuple[str, ...] = field(default=(), metadata=xml("power:endDeviceAsset*/power:mrid"))
    meter_asset: tuple[str, ...] = field(default=(), metadata=xml("power:meterAsset*/power:mrid"))
    pnode: tuple[str, ...] = field(default=(), metadata=xml("power:pnode*/power:node"))
    service_area: tuple[ServiceArea, ...] = field(
        default=(), metadata=xml("emix:serviceArea*/gml:FeatureCollection")
    )
    service_delivery_point: tuple[str, ...] = field(
        default=(), metadata=xml("power:serviceDeliveryPoint*/power:node")
    )
    service_location: tuple[ServiceArea, ...] = field(
        default=(), metadata=xml("power:serviceLocation*/gml:FeatureCollection")
    )
    transport_interface: tuple[TransportInterface, ...] = field(
        default=(), metadata=xml("power:transportInterface")
    )
    group_id: tuple[str, ...] = field(default=(), metadata=xml("ei:groupID"))
    group_name: tuple[str, ...] = field(default=(), metadata=xml("ei:groupName"))
    resource_id: tuple[str, ...] = field(default=(), metadata=xml("ei:resourceID"))
    ven_id: tuple[str, ...] = field(default=(), metadata=xml("ei:venID"))
    party_id: tuple[str, ...] = field(default=(), metadata=xml("ei:partyID"))

    @property
    def resources_alone(self) -> frozenset[str] | None:
        """The resources where it names nothing else, so that no others are meant; None otherwise."""
        alone = bool(self.resource_id) and self == Target(resource_id=self.resource_id)
        return frozenset(self.resource_id) if alone else None

    def of_ven(self, ven_id: str) -> "Target":
        """The same for one VEN (TGT-05). Resources stand alone: beside the venID they would say nothing."""
        if self.resource_id and self == Target(resource_id=self.resource_id, ven_id=self.ven_id):
            return Target(resource_id=self.resource_id)
        return replace(self, ven_id=(ven_id,))
