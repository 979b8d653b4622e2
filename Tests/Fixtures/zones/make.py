"""Writes zones.json: files of the tz database, and what Python's zoneinfo makes of them.

    python3 Tests/Fixtures/zones/make.py > Tests/Fixtures/zones/zones.json

Each zone has its file (TZif, base64), offsets in seconds at times around every change of some years, and windows of the
week with the next opening, found by trying one minute after the other.
"""
import base64, datetime, json, os, zoneinfo

ZONES = [
    "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata",
    "Asia/Tehran", "Africa/Casablanca", "Pacific/Apia", "Pacific/Kiritimati", "America/Nuuk", "Antarctica/Troll", "Etc/GMT+5",
]
YEARS = [1995, 2011, 2018, 2024, 2025, 2026, 2030, 2037, 2038, 2044, 2100]
UTC = datetime.timezone.utc
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
# (days, first minute, last minute, text)
WINDOWS = [
    (range(0, 5), 540, 960, "Mon-Fri 09:00-16:00"), ([5, 6, 0], 1320, 1320 + 300, "Sat-Mon 22:00-03:00"),
    (range(7), 150, 165, "02:30-02:45"), ([6], 0, 1440, "Sun 00:00-24:00"),
]


def offset(zone, seconds):
    return int(datetime.datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset().total_seconds())


def changes(zone, year):
    """Times of a year at which the offset changes, to the second."""
    start = int(datetime.datetime(year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime.datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
    step = 6 * 3600
    for at in range(start, end, step):
        low, high = at, at + step
        if offset(zone, low) == offset(zone, high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(zone, middle) == offset(zone, low) else (low, middle)
        yield high


def is_open(zone, seconds, window):
    days, first, last, _ = window
    local = datetime.datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    return any((minute - day * 1440 - first) % 10080 < last - first for day in days)


def main():
    out = []
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        with open(os.path.join("/usr/share/zoneinfo", name), "rb") as file:
            data = file.read()
        samples, openings = [], []
        found = [change for year in YEARS for change in changes(zone, year)]
        for change in found:
            samples += [change - 1, change, change + 1, change - 3600, change + 3600]
        for year in YEARS:
            samples += [int(datetime.datetime(year, month, 1, 12, tzinfo=UTC).timestamp()) for month in (1, 4, 7, 10)]
        for change in [c for c in found if c > 1.7e9][:6] + [1_790_000_000]:
            for window in WINDOWS:
                for start in (change - 90_000, change - 1_700):
                    start -= start % 60
                    at = start
                    while at < start + 15 * 86_400 and not is_open(zone, at, window):
                        at += 60
                    openings.append([start, f"{window[3]} {name}", at])
        out.append({
            "zone": name, "file": base64.b64encode(data).decode(), "offsets": [[at, offset(zone, at)] for at in samples],
            "openings": openings,
        })
    print(json.dumps(out, separators=(",", ":")).replace('{"zone"', '\n{"zone"'))


main()
