"""Bars of CPU per request as SVG, drawn without a library: one group a scenario, one bar a peer."""
COLOURS = {"sluice": "#d1495b", "relay": "#bbbbbb", "haproxy": "#00798c", "haproxy tcp": "#66b2be", "nginx": "#edae49",
           "nghttpx": "#8d6a9f", "envoy": "#30638e"}


def plot(result):
    row, left, width = 16, 170, 560
    lines, y = [], 30
    for name, table in result["scenarios"].items():
        lines.append(f'<text x="10" y="{y}" font-weight="bold">{name}</text>')
        y += 8
        most = max(r["cpu"] for r in table.values())
        for peer, values in table.items():
            length = values["cpu"] / most * width
            lines.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{peer}</text>'
                         f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="12" fill="{COLOURS.get(peer, "#888")}"/>'
                         f'<text x="{left + length + 6:.1f}" y="{y + 12}">{values["cpu"]:.1f}</text>')
            y += row
        y += 22
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{y}" font-family="sans-serif" font-size="11">'
            f'<rect width="820" height="{y}" fill="white"/>'
            f'<text x="10" y="14">CPU µs per request, {result["date"]}, {result["machine"]}</text>{"".join(lines)}</svg>\n')
