"""Draws the two pictures of an audit report in SVG: the timeline, and the state machine with the execution's path."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pipeline.audit.answers import duration, moment
from pipeline.audit.facts import Visit

WIDTH, LABELS, AFTER, LANE = 1000.0, 150.0, 80.0, 22.0
TICKS = 6
TICK_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 259200, 604800, 2592000)
COLOURS = {
    "Task": "#2563eb",
    "Map": "#7c3aed",
    "Wait": "#ca8a04",
    "Choice": "#475569",
    "Succeed": "#16a34a",
    "Fail": "#dc2626",
}
FILLS = {
    "Task": "#dbeafe",
    "Map": "#ede9fe",
    "Wait": "#fef9c3",
    "Choice": "#f1f5f9",
    "Succeed": "#dcfce7",
    "Fail": "#fee2e2",
}
RED = "#b91c1c"
ADJACENT = 0.4  # px; bars of a lane that are closer are drawn as one

BOX_WIDTH, BOX_HEIGHT, STEP, MIDDLE = 190.0, 28.0, 46.0, 360.0


def timeline(visits: Sequence[Visit], incidents: Sequence[Mapping[str, Any]], start: int, end: int) -> str:
    """Draw a lane for each state from ``start`` to ``end`` (Unix ms), to scale. Incidents are vertical lines."""
    span = max(end - start, 1)
    scale = (WIDTH - LABELS - AFTER) / span

    def x(time: int) -> float:
        return LABELS + (time - start) * scale

    lanes: dict[str, list[Visit]] = {}
    for visit in visits:
        lanes.setdefault(visit.state, []).append(visit)
    height = 40 + LANE * len(lanes)
    parts = [_open(WIDTH, height, "Timeline", f"{duration(span)} from {moment(start)} to {moment(end)}")]
    for time, label in _ticks(start, span):
        parts.append(f'<path class="grid" d="M{x(time):.1f} 18V{height - 8:.0f}"/>')
        parts.append(f'<text class="tick" x="{x(time):.1f}" y="12">{label}</text>')
    for place, (state, of_state) in enumerate(lanes.items()):
        top = 24 + place * LANE
        total = sum((end if visit.left is None else visit.left) - visit.entered for visit in of_state)
        parts.append(f'<text class="lane" x="{LABELS - 8:.0f}" y="{top + 13:.0f}">{escape(state)}</text>')
        bars = "".join(
            f"M{left:.1f} {top + 3:.0f}h{max(right - left, 1.0):.1f}v13h-{max(right - left, 1.0):.1f}z"
            for left, right in _bars(of_state, x, end)
        )
        parts.append(
            f'<path fill="{COLOURS.get(of_state[0].kind, "#475569")}" d="{bars}"><title>{escape(state)}: '
            f"{len(of_state)} visits, {duration(total)}</title></path>"
        )
        parts.append(f'<text class="total" x="{WIDTH - AFTER + 6:.0f}" y="{top + 13:.0f}">{duration(total)}</text>')
    last = -10.0
    for incident in incidents:
        at = x(incident["firstTime"])
        if at - last >= 1:  # lines less than 1 px apart would overlap
            title = escape(f"{moment(incident['firstTime'])} {incident['error'] or incident['type']}")
            parts.append(f'<path class="mark" d="M{at:.1f} 18V{height - 8:.0f}"><title>{title}</title></path>')
            last = at
    return "".join([*parts, "</svg>"])


def _bars(visits: Sequence[Visit], x: Any, end: int) -> Iterator[tuple[float, float]]:
    """The left and right ends of a lane's bars. Bars that are closer than `ADJACENT` are merged."""
    left, right = x(visits[0].entered), x(visits[0].entered)
    for visit in visits:
        begins, ends = x(visit.entered), x(end if visit.left is None else visit.left)
        if begins - right > ADJACENT:
            yield left, right
            left = begins
        right = max(right, ends)
    yield left, right


def _ticks(start: int, span: int) -> Iterator[tuple[int, str]]:
    step = next((seconds for seconds in TICK_SECONDS if span / 1000 / seconds <= TICKS), span / 1000 / TICKS)
    count = int(span / 1000 / step)
    for number in range(count + 1):
        passed = round(number * step * 1000)
        yield start + passed, "0" if number == 0 else duration(passed).replace(".0 ", " ")


def machine(states: Sequence[Mapping[str, Any]], start_at: str, path: Mapping[str, Any]) -> str:
    """Draw the states from top to bottom in the definition's order. Visited states are bold, with their visits."""
    visited = {state["name"]: state for state in path["states"]}
    taken = {(before, after): count for before, after, count in path["edges"]}
    places = {state["name"]: place for place, state in enumerate(states)}
    last = path["states"][-1]["name"] if path["states"] else None
    height = 40 + STEP * len(states)
    parts = [_open(2 * MIDDLE, height, "State machine", f"{len(visited)} of {len(states)} states were visited")]
    edges = [("", start_at)] + [(state["name"], after) for state in states for after in state["leadsTo"]]
    edges = [edge for edge in edges if edge[1] in places]
    for edge in sorted(edges, key=lambda edge: edge in taken):  # the execution's path is drawn last, on top
        parts.append(_edge(edge, places, taken.get(edge)))
    for state in states:
        name, kind, top = state["name"], state["type"], _top(places[state["name"]])
        visit = visited.get(name)
        look = f'fill="{FILLS.get(kind, "#fff")}" stroke="{COLOURS.get(kind, "#475569")}" stroke-width="2.5"'
        if not visit:
            look = 'fill="#fff" stroke="#94a3b8" stroke-dasharray="4 3"'
        parts.append(
            f'<rect x="{MIDDLE - BOX_WIDTH / 2:.0f}" y="{top:.0f}" width="{BOX_WIDTH:.0f}" height="{BOX_HEIGHT:.0f}" '
            f'rx="{2 if kind == "Choice" else 9}" {look}/>'
        )
        text = escape(name) + (f" \u00d7{visit['visits']}" if visit and visit["visits"] > 1 else "")
        weight = "visited" if visit else "unvisited"
        parts.append(f'<text class="state {weight}" x="{MIDDLE:.0f}" y="{top + 18:.0f}">{text}</text>')
        if name == last:
            left = MIDDLE - BOX_WIDTH / 2 - 8
            parts.append(f'<text class="here" x="{left:.0f}" y="{top + 18:.0f}">last state \u25b8</text>')
    return "".join([*parts, "</svg>"])


def _top(place: int) -> float:
    return 30 + place * STEP


def _edge(edge: tuple[str, str], places: Mapping[str, int], count: int | None) -> str:
    """A straight line to the next state, otherwise an arc: on the right to a later state, on the left to an earlier."""
    before, after = edge
    start, stop = places.get(before, -1), places[after]
    if stop == start + 1:
        line = f"M{MIDDLE:.0f} {_top(start) + BOX_HEIGHT:.0f}V{_top(stop) - 2:.0f}"
        if start < 0:
            line = f"M{MIDDLE:.0f} 8V{_top(stop) - 2:.0f}"
    else:
        side = 1 if stop > start else -1
        edge_x = MIDDLE + side * BOX_WIDTH / 2
        from_y, to_y = _top(start) + BOX_HEIGHT / 2 + 3, _top(stop) + BOX_HEIGHT / 2 - 3
        bend = edge_x + side * min(24 + 13 * abs(stop - start), 230)
        near = edge_x + side * 3
        line = f"M{edge_x:.0f} {from_y:.0f}C{bend:.0f} {from_y:.0f} {bend:.0f} {to_y:.0f} {near:.0f} {to_y:.0f}"
    title = f"<title>{escape(before or 'Start')} to {escape(after)}: {count or 0} times</title>"
    kind = "taken" if count else "open"
    return f'<path class="edge {kind}" marker-end="url(#{kind})" d="{line}">{title}</path>'


def _open(width: float, height: float, title: str, description: str) -> str:
    """The opening tags of an SVG. The title and the description are for screen readers."""
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in (("taken", "#1d4ed8"), ("open", "#cbd5e1"))
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{title}</title><desc>{escape(description)}</desc><defs>{markers}</defs>"
    )
