"""A Green Button feed: XML of other namespaces inside a message."""

from openadr import XmlNode

ATOM = "{http://www.w3.org/2005/Atom}"

ESPI = "{http://naesb.org/espi}"

FEED = XmlNode(
    tag=f"{ATOM}feed",
    children=(
        XmlNode(tag=f"{ATOM}id", text="urn:uuid:7b1c6f0a-1111-4c4e-8f10-000000000001"),
        XmlNode(
            tag=f"{ATOM}entry",
            children=(
                XmlNode(tag=f"{ATOM}id", text="urn:uuid:7b1c6f0a-1111-4c4e-8f10-000000000002"),
                XmlNode(tag=f"{ATOM}link", attributes=(("href", "UsagePoint/1?a=1&b=2"), ("rel", "self"))),
                XmlNode(tag=f"{ATOM}title", text="Front <meter>"),
                XmlNode(
                    tag=f"{ATOM}content",
                    children=(
                        XmlNode(
                            tag=f"{ESPI}IntervalBlock",
                            children=(
                                XmlNode(
                                    tag=f"{ESPI}interval",
                                    children=(
                                        XmlNode(tag=f"{ESPI}duration", text="900"),
                                        XmlNode(tag=f"{ESPI}start", text="1330578000"),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
                XmlNode(tag=f"{ATOM}published", text="2026-07-01T00:00:00Z"),
                XmlNode(tag=f"{ATOM}updated", text="2026-07-01T00:00:00Z"),
            ),
        ),
    ),
)
