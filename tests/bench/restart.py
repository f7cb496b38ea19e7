#!/usr/bin/env python3
"""How long a process takes to be ready that left a million keys and 50,000 open alerts: `python3 tests/bench/restart.py [BINARY]`

Starts `tripline run` over events on a pipe: 1,000 users whom 50 rules alert of, and a million users whom a correlation
counts. Stops it once all of that is counted, and starts it again, `--times` times (3): the time until `/readyz` says that it
is ready, and what it takes of memory then. A benchmark for people, not a test.
"""
import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ALERTING, INTRUDERS = 50, 1_000
RULE = """title: Exec {n}
name: exec{n}
level: medium
logsource: {{product: kubernetes, service: audit}}
detection: {{a: {{objectRef.subresource: exec, user.username|startswith: intruder}}, condition: a}}
tripline: {{group-by: [user.username]}}
"""
COUNTED = """title: Reads
name: reads
logsource: {product: kubernetes, service: audit}
generate: false
detection: {read: {verb: get}, condition: read}
---
title: Much of one
name: much
correlation: {type: event_count, rules: [reads], group-by: [user.username], timespan: 1d, condition: {gte: 1000}}
"""
EVENT = (
    '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"%s","stage":"ResponseComplete",'
    '"requestURI":"/x","verb":"%s","user":{"username":"%s"},"objectRef":{"resource":"pods","namespace":"shop","name":"db"%s},'
    '"responseStatus":{"code":200},"requestReceivedTimestamp":"%s","stageTimestamp":"%s"}\n'
)


def start(binary, directory, port):
    return subprocess.Popen(
        [binary, "run"], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=(directory / "log").open("ab"),
    )


def ask(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def until(process, is_so, seconds=900):
    end = time.perf_counter() + seconds
    while not is_so():
        if process.poll() is not None or time.perf_counter() > end:
            sys.exit("it ended, or never came so far: see the log")
        time.sleep(0.02)


def total(port, metric):
    return sum(float(value) for value in re.findall(rf"^{metric}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", ask(port, "/metrics")[1], re.M))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default="target/release/tripline")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    binary = str(Path(asked.binary).resolve())
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        directory = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        (directory / "rules").mkdir()
        for n in range(ALERTING):
            (directory / f"rules/exec{n}.yaml").write_text(RULE.format(n=n))
        (directory / "rules/reads.yaml").write_text(COUNTED)
        (directory / "tripline.yaml").write_text(
            "sources: [{file: {paths: ['-']}}]\nrules: rules\nstate: state\nlog: {level: warn}\n"
            f"http: {{listen: '127.0.0.1:{port}', public: [health, metrics]}}\nengine: {{resolve_after: 24h}}\n"
            "receivers: [{name: out, stdout: {format: json}}]\nroute: {receiver: out, group_by: [alertname]}\n"
        )
        process = start(binary, directory, port)
        until(process, lambda: ask(port, "/readyz")[0] == 200)
        began, now = time.perf_counter(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for n in range(INTRUDERS):
            event = EVENT % (f"i{n}", "create", f"intruder{n}", ',"subresource":"exec"', now, now)
            process.stdin.write(event.encode())
        for n in range(asked.keys):
            process.stdin.write((EVENT % (f"r{n}", "get", f"system:serviceaccount:shop:u{n}", "", now, now)).encode())
        process.stdin.flush()
        until(process, lambda: total(port, "tripline_correlation_keys") >= asked.keys)
        firing = total(port, "tripline_alerts_firing")
        until(process, lambda: total(port, "tripline_notifications_pending") == 0)
        print(f"{asked.keys} keys, {firing:.0f} alerts firing, after {time.perf_counter() - began:.0f} s", flush=True)
        for _ in range(asked.times):
            process.send_signal(signal.SIGTERM)
            process.wait()
            began = time.perf_counter()
            process = start(binary, directory, port)
            until(process, lambda: ask(port, "/readyz")[0] == 200)
            ready = time.perf_counter() - began
            keys, firing = total(port, "tripline_correlation_keys"), total(port, "tripline_alerts_firing")
            resident = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) // 1_024
            peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) // 1_024
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            print(f"ready after {ready:.2f} s, {cpu:.2f} s of CPU: {keys:.0f} keys, {firing:.0f} alerts firing; {resident} MiB "
                  f"resident, {peak} at most", flush=True)
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
