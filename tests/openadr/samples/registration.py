"""Messages of registration, polls, and responses that belong to no service."""

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Extension,
    Info,
    Message,
    Poll,
    Profile,
    QueryRegistration,
    RequestReregistration,
    Response,
    ServiceInfo,
)
from openadr.enums import ProfileName, ServiceName, TransportName
from tests.openadr.samples.parts import OK, REFUSED, minutes

REGISTRATIONS: dict[str, Message] = {
    "query_registration": QueryRegistration(request_id="req-1"),
    "create_party_registration_pull": CreatePartyRegistration(
        request_id="req-1", ven_name="FEID of node 1", http_pull_model=True
    ),
    "create_party_registration_push": CreatePartyRegistration(
        request_id="req-1",
        registration_id="reg-1",
        ven_id="0012",
        profile_name=ProfileName.A,
        transport_name=TransportName.XMPP,
        transport_address="ven@host.example/resource",
        report_only=True,
        xml_signature=True,
        http_pull_model=False,
    ),
    "created_party_registration_query": CreatedPartyRegistration(
        response=OK,
        vtn_id="vtn-1",
        profiles=(Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
    ),
    "created_party_registration": CreatedPartyRegistration(
        response=OK,
        registration_id="reg-1",
        ven_id="ven-1",
        vtn_id="vtn-1",
        profiles=(
            Profile(profile_name=ProfileName.A, transports=(TransportName.SIMPLE_HTTP,)),
            Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP, TransportName.XMPP)),
        ),
        requested_poll_freq=minutes(5),
        services=(ServiceInfo(service_name=ServiceName.EI_EVENT, infos=(Info(key="limit", value="10"),)),),
        extensions=(
            Extension(extension_name="x-offer", infos=(Info(key="a", value="<&>"),)),
            Extension(extension_name="x-plain"),
        ),
    ),
    "cancel_party_registration": CancelPartyRegistration(
        request_id="req-1", registration_id="reg-1", ven_id="ven-1"
    ),
    "canceled_party_registration": CanceledPartyRegistration(
        response=OK, registration_id="reg-1", ven_id="ven-1"
    ),
    "request_reregistration": RequestReregistration(ven_id="ven-1"),
    "poll": Poll("ven-1"),
    "response": Response(response=OK, ven_id="ven-1"),
    "response_error": Response(response=REFUSED),
}
