"""Runs and times commands, and prints tables of medians and ratios."""
import os
import re
import statistics
import subprocess
import sys
import time


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


def run(command, cwd, env, switch=()):
    """Runs a shell command, as whom `switch` says, and returns its seconds: its own figure if it prints one."""
    start = time.perf_counter()
    # The directory of another user's mount is entered as that user only.
    done = subprocess.run([*switch, "sh", "-c", 'cd "$0" && eval "$1"', cwd, command], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {command}")
    own = re.match(rb"seconds ([0-9.]+)", done.stdout)
    return float(own.group(1)) if own else seconds


def rotated(peers, repetition):
    at = repetition % len(peers)
    return peers[at:] + peers[:at]


def paired_ratio(values, base):
    """Returns the median of the ratios of runs made in the same repetition, or None."""
    pairs = [v / b for v, b in zip(values, base) if v is not None and b]
    return statistics.median(pairs) if pairs else None


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}f}"


def verdict(ratio, limit):
    if ratio is None or limit is None:
        return ""
    return "ok" if ratio <= limit else "MISSED"


def table(title, header, rows):
    """Prints a Markdown table, columns aligned, at once."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n## {title}\n")
    print("| " + " | ".join(c.ljust(w) for c, w in zip(header, widths)) + " |")
    print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for row in rows:
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |")
    sys.stdout.flush()
