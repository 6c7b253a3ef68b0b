"""Draws how the cost of a search grows with the collection.

Usage: recall_growth.py FIGURE.svg REPORT.json...

Each report is what `recall_bench --json` printed for one collection size, with
the strategies flat-* and graph-* of one or more code shapes, many --recompute
points and, for graphs, many --beam values (docs/recall.md has the command).
Rows of other strategies are left out, and so is what no row reaches. Writes the
figure, and prints the table behind it in Markdown:

  recomputed   the fewest candidates that have to be recomputed for recall@10 of
               0.95; of a graph with the widest beam of the report
  evaluated    the fewest codes that a walk scores for recall@10 of 0.95 if it
               may recompute so many candidates as RECOMPUTE_LIMIT says,
               interpolated between beams
  walk ms      of the narrowest beam that reaches it
"""

import collections
import itertools
import json
import math
import pathlib
import sys

RECALL = 0.95
# By bytes of a code.
RECOMPUTE_LIMIT = {33: 100, 49: 50, 97: 30}

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 34, 44
COLOURS = ["#0b62a4", "#c2410c", "#4d7c0f", "#7e22ce"]


def setting(row, knob):
    """The value of `knob` in a row's setting, such as "beam 64, recompute 30"."""
    for part in row["setting"].split(", "):
        name, _, value = part.partition(" ")
        if name == knob:
            return int(value)
    return None


def fewest_recomputed(rows):
    widest = max((setting(row, "beam") or 0) for row in rows)
    enough = [
        row["recomputed_per_query"]
        for row in rows
        if (setting(row, "beam") or 0) == widest and row["recall_at_10"] >= RECALL
    ]
    return min(enough, default=None)


def fewest_evaluated(rows):
    """Codes scored for RECALL, interpolated, and the walk's milliseconds."""
    limit = RECOMPUTE_LIMIT.get(rows[0]["code_bytes"])
    if limit is None:
        return None, None
    at_limit = sorted(
        (row for row in rows if setting(row, "recompute") == limit),
        key=lambda row: setting(row, "beam"),
    )
    before = None
    for row in at_limit:
        if row["recall_at_10"] >= RECALL:
            evaluated = row["code_evaluations_per_query"]
            if before is not None:
                low, high = before["recall_at_10"], row["recall_at_10"]
                share = (RECALL - low) / (high - low)
                start = before["code_evaluations_per_query"]
                evaluated = start + share * (evaluated - start)
            return evaluated, row["walk_ms_p50"]
        before = row
    return None, None


def read(paths):
    """{strategy: {n: (recomputed, evaluated, milliseconds)}}"""
    by_strategy = collections.defaultdict(dict)
    for path in paths:
        groups = collections.defaultdict(list)
        for row in json.loads(pathlib.Path(path).read_text())["rows"]:
            if setting(row, "recompute") is not None:
                groups[row["strategy"], row["n"]].append(row)
        for (strategy, n), rows in groups.items():
            is_graph = strategy.startswith("graph-")
            evaluated, walk = fewest_evaluated(rows) if is_graph else (None, None)
            by_strategy[strategy][n] = (fewest_recomputed(rows), evaluated, walk)
    return by_strategy


def nice_ticks(largest):
    step = 10 ** math.floor(math.log10(largest))
    while largest / step < 4:
        step /= 2
    return [step * i for i in range(int(largest / step) + 2)]


def panel(title, series, colours, left):
    """SVG of lines over the logarithm of n; series: [(name, {n: value})]."""
    heading = f'<text x="{left + LEFT}" y="18" font-weight="bold">{title}</text>'
    if not series:
        return (
            f'{heading}\n<text x="{left + LEFT}" y="{HEIGHT / 2}">'
            f"no row reaches a recall of {RECALL}</text>"
        )
    sizes = sorted({n for _, values in series for n in values})
    ticks = nice_ticks(max(v for _, values in series for v in values.values()))
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    span = high - low or 1

    def x(n):
        return left + LEFT + (math.log10(n) - low) / span * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - value / ticks[-1] * (HEIGHT - TOP - BOTTOM)

    out = [heading]
    for tick in ticks:
        out.append(
            f'<path d="M{left + LEFT} {y(tick):.1f}H{left + WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{left + LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,.0f}</text>'
        )
    for n in sizes:
        label = f"{n // 10**6} M" if n >= 10**6 else f"{n // 1000} k"
        out.append(
            f'<text x="{x(n):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{label}</text>'
        )
    out.append(
        f'<text x="{left + (LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">passages</text>'
    )
    for i, (name, values) in enumerate(series):
        colour = colours[name]
        points = [(x(n), y(values[n])) for n in sorted(values)]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for a, b in points:
            out.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>')
        out.append(
            f'<text x="{left + WIDTH - RIGHT - 6}" y="{HEIGHT - BOTTOM - 8 - 15 * i}"'
            f' fill="{colour}" text-anchor="end">{name}</text>'
        )
    return "\n".join(out)


def series_of(by_strategy, field):
    series = []
    for strategy, by_n in by_strategy.items():
        values = {n: found[field] for n, found in by_n.items() if found[field] is not None}
        if values:
            series.append((strategy, values))
    return series


def figure(by_strategy):
    colours = dict(zip(by_strategy, itertools.cycle(COLOURS)))
    panels = [
        panel("Recomputed passages a query", series_of(by_strategy, 0), colours, 0),
        panel("Codes a walk scores", series_of(by_strategy, 1), colours, WIDTH),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def table(by_strategy):
    def number(value, digits=0):
        return "" if value is None else f"{value:,.{digits}f}"

    sizes = sorted({n for by_n in by_strategy.values() for n in by_n})
    lines = [
        "| strategy | " + " | ".join(f"{n:,}" for n in sizes) + " |",
        "| --- |" + " ---: |" * len(sizes),
    ]
    for field, what, digits in ((0, "recomputed", 0), (1, "evaluated", 0), (2, "walk ms", 2)):
        for strategy, by_n in by_strategy.items():
            values = [by_n.get(n, (None,) * 3)[field] for n in sizes]
            if any(value is not None for value in values):
                cells = " | ".join(number(value, digits) for value in values)
                lines.append(f"| {strategy}, {what} | {cells} |")
    return "\n".join(lines)


def main():
    if len(sys.argv) < 3:
        print("usage: recall_growth.py FIGURE.svg REPORT.json...", file=sys.stderr)
        return 2
    by_strategy = read(sys.argv[2:])
    pathlib.Path(sys.argv[1]).write_text(figure(by_strategy))
    print(table(by_strategy))
    return 0


sys.exit(main())
