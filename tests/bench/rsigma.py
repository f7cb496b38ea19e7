#!/usr/bin/env python3
"""Tripline's backtest beside rsigma, the nearest peer: the same rules over the same events, as whole processes.

    python3 tests/bench/rsigma.py --rules DIRECTORY [--events FILE]... [--runs 5]

`--rules` is a directory of Sigma rules that both can read, correlations with `timespan` and `condition` among
them; those of SigmaHQ for Kubernetes audit logs are what Tripline is measured with. Without `--events` the
traffic of `tripline generate` is used: 200,000 events with all its attacks. rsigma is a published crate, built
once into target/bench/rsigma with its own defaults but for its server. The two run in turn; the medians of CPU
time (user and system, all threads), of peak memory and of the ratio of each pair are printed. Start-up and the
reading of rules and events are part of it. A benchmark for people, not a test.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINNED = "0.23.0"


def run(command, stdin=None):
    """CPU seconds and peak MiB of one process, whose output is thrown away."""
    source = open(stdin, "rb") if stdin else subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def built(directory):
    """The peer's binary."""
    binary = directory / "bin" / "rsigma"
    if not binary.exists():
        command = ["cargo", "install", "rsigma", "--version", PINNED, "--locked", "--no-default-features", "--features", "cef"]
        print("building rsigma", PINNED, file=sys.stderr)
        subprocess.run([*command, "--root", directory], check=True)
    return binary


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=pathlib.Path, required=True)
    parser.add_argument("--events", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tripline", type=pathlib.Path, default=ROOT / "target/release/tripline")
    arguments = parser.parse_args()
    directory = ROOT / "target" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    peer = built(directory / "rsigma")
    if not arguments.events:
        events = directory / "events.jsonl"
        generate = [arguments.tripline, "generate", "--count", "200000", "--rate", "500", "--stories", "all"]
        subprocess.run([*generate, "--output", events], check=True, stderr=subprocess.DEVNULL)
        arguments.events = [events]
    print(f"{'events':<28} {'tripline':>18} {'rsigma':>18} {'CPU ratio':>10}")
    for events in arguments.events:
        ours, theirs = [], []
        for _ in range(arguments.runs + 1):
            ours.append(run([arguments.tripline, "backtest", "--rules", arguments.rules, events]))
            theirs.append(run([peer, "engine", "eval", "-r", arguments.rules], stdin=events))
        # The first of each warms the page cache.
        ours, theirs = ours[1:], theirs[1:]
        ratio = statistics.median(one[0] / other[0] for one, other in zip(ours, theirs))
        shown = [
            f"{statistics.median(one[0] for one in of):.2f} s {statistics.median(one[1] for one in of):>5.0f} MiB"
            for of in (ours, theirs)
        ]
        print(f"{events.name:<28} {shown[0]:>18} {shown[1]:>18} {ratio:>10.3f}")


if __name__ == "__main__":
    main()
