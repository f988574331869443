"""EiRegisterParty: a VEN registers, both sides may end it."""

from dataclasses import dataclass, field

from openadr.enums import ProfileName, ServiceName, TransportName
from openadr.interval import Duration
from openadr.response import EiResponse
from openadr.wire import Message, xml


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A profile that the VTN speaks, and over which transports."""

    profile_name: ProfileName = field(metadata=xml("oadr:oadrProfileName"))
    transports: tuple[TransportName, ...] = field(
        metadata=xml("oadr:oadrTransports/oadr:oadrTransport*/oadr:oadrTransportName")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A key with its value."""

    key: str = field(metadata=xml("oadr:oadrKey"))
    value: str = field(metadata=xml("oadr:oadrValue"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """What a VEN should know of one service before it registers."""

    service_name: ServiceName = field(metadata=xml("oadr:oadrServiceName"))
    infos: tuple[Info, ...] = field(metadata=xml("oadr:oadrInfo"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A named extension of the VTN."""

    extension_name: str = field(metadata=xml("oadr:oadrExtensionName"))
    infos: tuple[Info, ...] = field(default=(), metadata=xml("oadr:oadrInfo"))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRegistration(Message):
    """A VEN asks what the VTN offers; changes nothing (REG-04)."""

    request_id: str = field(metadata=xml("pyld:requestID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartyRegistration(Message):
    """A VEN registers, or registers again where it sends its ids (REG-05, REG-14)."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    registration_id: str | None = field(default=None, metadata=xml("ei:registrationID"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))
    profile_name: ProfileName = field(default=ProfileName.B, metadata=xml("oadr:oadrProfileName"))
    transport_name: TransportName = field(
        default=TransportName.SIMPLE_HTTP, metadata=xml("oadr:oadrTransportName")
    )
    transport_address: str | None = field(default=None, metadata=xml("oadr:oadrTransportAddress"))
    report_only: bool = field(default=False, metadata=xml("oadr:oadrReportOnly"))
    xml_signature: bool = field(default=False, metadata=xml("oadr:oadrXmlSignature"))
    ven_name: str | None = field(default=None, metadata=xml("oadr:oadrVenName"))
    http_pull_model: bool | None = field(default=None, metadata=xml("oadr:oadrHttpPullModel"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedPartyRegistration(Message):
    """The VTN's answer to a query (no ids for a stranger, REG-03) or a registration (with ids, REG-08)."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    registration_id: str | None = field(default=None, metadata=xml("ei:registrationID"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))
    vtn_id: str = field(metadata=xml("ei:vtnID"))
    profiles: tuple[Profile, ...] = field(metadata=xml("oadr:oadrProfiles/oadr:oadrProfile"))
    requested_poll_freq: Duration | None = field(
        default=None, metadata=xml("oadr:oadrRequestedOadrPollFreq/xcal:duration")
    )
    services: tuple[ServiceInfo, ...] = field(
        default=(), metadata=xml("oadr:oadrServiceSpecificInfo/oadr:oadrService")
    )
    extensions: tuple[Extension, ...] = field(
        default=(), metadata=xml("oadr:oadrExtensions/oadr:oadrExtension")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPartyRegistration(Message):
    """Either side ends the registration (REG-18)."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    registration_id: str = field(metadata=xml("ei:registrationID"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledPartyRegistration(Message):
    """Answer to CancelPartyRegistration."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    registration_id: str | None = field(default=None, metadata=xml("ei:registrationID"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReregistration(Message):
    """The VTN asks a VEN to register again with its ids (REG-16)."""

    ven_id: str = field(metadata=xml("ei:venID"))
