"""Charts as SVG, written by hand: lines of cost against size on a logarithmic axis, and bars."""

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 50, 60
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#b8860b", "#2f4858", "#d1495b", "#00798c", "#8d6a9f", "#5f7a61")


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str) -> str:
    """Return the chart; each series is (size, cost) by size. ValueError without a point."""
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError("a chart needs a point")
    sizes = sorted({x for x, _ in points})
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    top = _above(max(y for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        share = 0.5 if high == low else (math.log10(x) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="16">{escape(title)}</text>',
    ]
    for step in range(6):
        value = top * step / 5
        _, y = at(sizes[0], value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for size in sizes:
        x, _ = at(size, 0)
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{size:,.0f}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 14}">{escape(x_title)}</text>')
    out.append(f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">{escape(y_title)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [at(x, y) for x, y in sorted(line)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 10 + number * 19
        out.append(f'<path d="M{WIDTH - RIGHT + 20} {y}h18" stroke="{colour}" stroke-width="3"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 44}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Return a chart with a bar for each value, in their order. ValueError without a value."""
    if not values:
        raise ValueError("a chart needs a value")
    row, top, left = 34, 56, 270
    height, most = top + row * len(values) + 20, _above(max(values.values()))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="13" role="img">',
        "<style>text { font-family: sans-serif }</style>",
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="20" y="28" font-size="16">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y, width = top + number * row, value / most * (WIDTH - left - 90)
        out.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="22" fill="{COLOURS[0]}"/>')
        out.append(f'<text x="{left + width + 8:.1f}" y="{y + 16}">{value:.1f} {escape(unit)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _above(value: float) -> float:
    """Return a round number at or above a value, for the end of an axis."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)
