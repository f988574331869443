"""The live view: one screen of text, about 100 by 36, made from a `Snapshot` and nothing else."""

import re
from datetime import timedelta
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flexpact.demo.chart import Line, Window, chart, hours
from flexpact.demo.snapshot import Curves, EventRow, Evidence, NodeRow, Snapshot

WIDTH = 100
_CHART_HEIGHT = 11
_QUARTER = timedelta(minutes=15)
_METERED, _BASELINE, _FORECAST = "bold cyan", "yellow", "magenta"
_WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_OPT_STYLES = {"optIn": "green", "optOut": "red"}


def render(snapshot: Snapshot, width: int = WIDTH) -> RenderableType:
    """Return the whole screen for a terminal `width` characters wide."""
    inner = max(20, width - 4)
    return Group(
        _head(snapshot, width),
        Text(f" {snapshot.phase}", no_wrap=True, overflow="ellipsis"),
        # a low terminal cuts off what is below, and the way into the dashboard is in the note
        Text("\n".join(f" {line}" for line in snapshot.note.split("\n")), style="dim", overflow="fold"),
        Panel(_nodes(snapshot), title="virtual nodes", title_align="left", border_style="dim"),
        Panel(_event(snapshot.event), title="event", title_align="left", border_style="dim"),
        Panel(_load(snapshot, inner), title=_legend(), title_align="left", border_style="dim"),
        Panel(_evidence(snapshot.evidence), title="evidence", title_align="left", border_style="dim"),
    )


def picture(snapshot: Snapshot) -> str:
    """Return the screen as an SVG picture that loads nothing from anywhere."""
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(render(snapshot))
    return _WEB_FONTS.sub("", console.export_svg(title="flexpact demo", unique_id="demo"))


def _head(snapshot: Snapshot, width: int) -> Table:
    head = Table.grid(expand=False, padding=(0, 2))
    head.add_row(
        Text("flexpact", style="bold"),
        Text(snapshot.now.strftime("%Y-%m-%d %H:%M UTC"), style="bold cyan"),
        ProgressBar(total=1.0, completed=snapshot.progress, width=max(10, width - 36)),
    )
    return head


def _nodes(snapshot: Snapshot) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("node")
    table.add_column("registered")
    for title in ("load kW", "asked kW"):
        table.add_column(title, justify="right")
    table.add_column("answer")
    table.add_column("state")
    for node in snapshot.nodes:
        table.add_row(*_node(node))
    return table


def _node(node: NodeRow) -> tuple[RenderableType, ...]:
    return (
        node.name,
        Text("yes", style="green") if node.registered else Text("no", style="dim"),
        _kw(node.load_kw),
        _kw(node.target_kw),
        Text(node.opt or "", style=_OPT_STYLES.get(node.opt or "", "")),
        node.state,
    )


def _kw(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _event(event: EventRow | None) -> Text:
    if event is None:
        return Text("none yet", style="dim")
    when = f"{event.start:%H:%M}-{event.end:%H:%M} UTC"
    text = Text(f"{when}   {event.power_kw:.1f} kW less asked   ")
    text.append(event.status, style="bold green" if event.status == "active" else "bold")
    if event.delivered_kwh is not None:
        text.append(f"   {event.delivered_kwh:.1f} kWh delivered of {event.requested_kwh:.1f} asked")
    return text


def _legend() -> Text:
    return Text.assemble(
        "load kW: ", ("metered", _METERED), ", ", ("baseline", _BASELINE), ", ", ("forecast", _FORECAST)
    )


def _load(snapshot: Snapshot, width: int) -> Group:
    curves = snapshot.curves
    lines = [
        Line(curves.metered, _METERED),
        Line(curves.baseline, _BASELINE),
        Line(curves.forecast, _FORECAST),
    ]
    count = max(len(line.values) for line in lines)
    axis = hours(width, curves.start.hour, max(1, count // 4))
    return Group(chart(lines, width, _CHART_HEIGHT, _window(curves, snapshot.event)), axis)


def _window(curves: Curves, event: EventRow | None) -> Window | None:
    if event is None:
        return None
    return Window((event.start - curves.start) // _QUARTER, (event.end - curves.start) // _QUARTER)


def _evidence(evidence: Evidence) -> Text:
    return Text.assemble(
        "leaves ", (str(evidence.leaves), "bold"), "   checkpoints ", (str(evidence.checkpoints), "bold"),
        "   anchored ", (str(evidence.anchored), "bold green"), "   chain ", (evidence.chain, "bold"),
    )  # fmt: skip
