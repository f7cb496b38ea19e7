#!/usr/bin/env python3
"""What pages of the console cost while ten thousand alerts fire: `python3 tests/bench/console.py [BINARY]`

Starts `tripline run` over generated traffic of 30 days, all of which is recorded, and over events that make 12 rules alert
for 900 users each. Then it asks for pages one after another, and with many browsers at once. A benchmark for people, not a
test. `--accesses` says how much traffic (1,000,000), `--requests` how often each page is asked for (200). `--ledger` names
a ledger that is there already, such as one of `cargo bench --bench ledger`: it is asked in place of generated traffic, and
written to, so make a copy of it. `--pages` measures pages alone.
"""
import argparse
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

RULES, USERS = 12, 900
RULE_ID = "8b0b2c4e-0000-4000-8000-000000000001"
RULE = """title: Exec {n}
id: 8b0b2c4e-0000-4000-8000-000000000{n:03}
name: exec{n}
level: {level}
logsource: {{product: kubernetes, service: audit}}
detection: {{a: {{objectRef.subresource: exec, user.username|startswith: intruder}}, condition: a}}
"""
RECORD = """title: All
name: all
logsource: {product: kubernetes, service: audit}
detection: {any: {objectRef.resource|exists: true}, condition: any}
tripline: {record: all}
"""
EVENT = (
    '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"intruder-%d","stage":"ResponseComplete",'
    '"requestURI":"/api/v1/namespaces/shop/pods/db/exec?command=sh","verb":"create","user":{"username":"intruder%d"},'
    '"sourceIPs":["10.0.0.1"],"objectRef":{"resource":"pods","namespace":"shop","name":"db","subresource":"exec",'
    '"apiVersion":"v1"},"responseStatus":{"code":101},"requestReceivedTimestamp":"%s","stageTimestamp":"%s"}\n'
)


class Server:
    """The process that is measured."""

    def __init__(self, binary, directory, ledger=None):
        (directory / "rules").mkdir()
        for n in range(RULES):
            level = ["low", "medium", "high"][n % 3]
            (directory / f"rules/exec{n}.yaml").write_text(RULE.format(n=n, level=level))
        (directory / "rules/all.yaml").write_text(RECORD)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (directory / "tripline.yaml").write_text(
            "sources: [{file: {paths: ['-']}}]\nrules: rules\nstate: state\n"
            f"http: {{listen: '127.0.0.1:{self.port}'}}\nlog: {{level: warn}}\n"
            "engine: {resolve_after: 24h}\nreceivers: [{name: out, stdout: {format: json}}]\nroute: {receiver: out}\n"
            + (f"ledger: {{directory: '{ledger}'}}\n" if ledger else "")
        )
        self.log = directory / "log"
        self.process = subprocess.Popen(
            [binary, "run"], cwd=directory, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=self.log.open("wb"),
        )

    def ask(self, path, connection=None):
        """The status, what the page is, and the seconds to its first and its last byte."""
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        first = time.perf_counter() - began
        body = answer.read()
        return answer.status, body, first, time.perf_counter() - began

    def json(self, path):
        return json.loads(self.ask(path)[1])

    def cpu(self):
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads(self):
        """Seconds of CPU by the names of its threads."""
        used = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            except OSError:
                continue
            fields = fields.split()
            used[name] = used.get(name, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used

    def memory(self):
        """MiB that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def until(what, is_so, seconds=600):
    end = time.time() + seconds
    while time.time() < end:
        try:
            found = is_so()
        except (OSError, ValueError, http.client.HTTPException):
            found = None
        if found:
            return found
        time.sleep(0.25)
    sys.exit(f"{what}: not within {seconds} s")


def share(times, part):
    return 1000 * sorted(times)[min(len(times) - 1, int(len(times) * part))]


def measure(server, name, path, count):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    firsts, alls, size, bad, cpu = [], [], 0, 0, server.cpu()
    for _ in range(count):
        status, body, first, whole = server.ask(path, connection)
        bad += status != 200
        size = max(size, len(body))
        firsts.append(first)
        alls.append(whole)
    cpu = 1000 * (server.cpu() - cpu) / count
    text = (name, share(firsts, 0.5), share(firsts, 0.95), share(alls, 0.5), share(alls, 0.95), cpu, size / 1000, bad)
    print("%-28s first byte %6.1f / %6.1f ms   complete %6.1f / %6.1f ms   CPU %5.1f ms   %6.1f kB   %d not 200" % text,
          flush=True)


class Stream(threading.Thread):
    """A page that is open: an EventSource, which comes back when its stream ends."""

    def __init__(self, server, is_slow=False):
        super().__init__(daemon=True)
        self.server, self.is_slow, self.is_over = server, is_slow, False
        self.opened, self.refused, self.heard, self.heard_at = 0, 0, 0, []

    def run(self):
        while not self.is_over:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=40)
                connection.request("GET", "/api/v1/stream")
                answer = connection.getresponse()
                if answer.status != 200:
                    self.refused += 1
                    time.sleep(5)
                    continue
                self.opened += 1
                while not self.is_over and (part := answer.read(1) if self.is_slow else answer.readline()):
                    if part.startswith(b"event: alert"):
                        self.heard += 1
                        self.heard_at.append(time.time())
                    if self.is_slow:
                        time.sleep(1)
            except (OSError, http.client.HTTPException):
                time.sleep(1)


def with_streams(server, count, seconds, write, slow=0):
    """CPU while pages are open: nothing happens, then one more user makes all rules alert each second."""
    streams = [Stream(server, number < slow) for number in range(count)]
    for stream in streams:
        stream.start()
    time.sleep(3)
    for what, is_busy in (("idle", False), (f"{RULES} new alerts a second", True)):
        began, cpu, written_at = time.time(), server.cpu(), []
        while time.time() - began < seconds:
            if is_busy:
                written_at.append(time.time())
                write(1)
            time.sleep(1)
        used = 100 * (server.cpu() - cpu) / (time.time() - began)
        opened = sum(stream.opened > 0 for stream in streams)
        heard = sum(stream.heard for stream in streams)
        print(f"{count} streams ({opened} opened), {what}: {used:.1f} % of a core; {heard} alerts heard in all", flush=True)
    # From the event on the pipe to the row on the page: at once, and whatever comes later is of the next event.
    rows = [at - max(written) for stream in streams if not stream.is_slow for at in stream.heard_at
            if (written := [begun for begun in written_at if begun <= at])]
    print(f"from event to row: p50 {share(rows, 0.5):.0f} ms, p99 {share(rows, 0.99):.0f} ms, {len(rows)} rows", flush=True)
    return streams


def with_people(server, binary, paths, write, events, people):
    """How long some traffic takes, and an alert behind it, while people click as fast as pages come."""
    is_over = threading.Event()
    loaded = []

    def click(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for turn in itertools.count(number):
            if is_over.is_set():
                return
            loaded.append(server.ask(paths[turn % len(paths)], connection)[0])
            time.sleep(1)

    clickers = [threading.Thread(target=click, args=(number,), daemon=True) for number in range(people)]
    for clicker in clickers:
        clicker.start()
    before = server.json("/api/v1/alerts?limit=1")["total"]
    began, cpu, threads, own = time.time(), server.cpu(), server.threads(), time.process_time()
    subprocess.run([binary, "generate", "--count", str(events), "--seed", str(events + people)],
                   stdout=server.process.stdin, check=True)
    write(1)
    until("the traffic is read", lambda: server.json("/api/v1/alerts?limit=1")["total"] >= before + RULES)
    took, used, own = time.time() - began, server.cpu() - cpu, time.process_time() - own
    threads = {name: used - threads.get(name, 0) for name, used in server.threads().items()}
    most = sorted(threads.items(), key=lambda one: -one[1])
    shares = ", ".join(f"{name} {used:.2f}" for name, used in most if used >= 0.01)
    is_over.set()
    for clicker in clickers:
        clicker.join()
    print(f"{people} people clicking ({len(loaded)} pages): {events} events and an alert behind them in {took:.2f} s, "
          f"{used:.2f} s of CPU ({shares}); the client used {own:.2f} s", flush=True)


def pages_of_ledger(server):
    """Pages about somebody who did much, and about an object of theirs."""
    def accesses(span):
        rows = server.json(f"/api/v1/timeline?since={span}&limit=1000").get("rows", [])
        return [row for row in rows if row["kind"] == "access" and not row["actor"]["id"].startswith("intruder")]

    since = until("accesses are known", lambda: next((span for span in ("1d", "7d", "30d") if accesses(span)), None))
    seen = accesses(since)
    actors = [row["actor"]["id"] for row in seen]
    actor = quote(max(set(actors), key=actors.count))
    named = next(row["object"] for row in seen if row.get("object", {}).get("name"))
    kept = {"resource": named["resource"], "namespace": named.get("namespace"), "name": named["name"]}
    about = "&".join(f"{name}={quote(value)}" for name, value in kept.items() if value)
    namespace = quote(next(row["object"]["namespace"] for row in seen if row.get("object", {}).get("namespace")))
    return [("an actor's 30 days", f"/actor?id={actor}&since=30d"), ("timeline of a day", f"/timeline?since={since}"),
            ("timeline of an actor, 30 days", f"/timeline?actor={actor}&since=30d"),
            ("an object's 30 days", f"/object?{about}&since=30d"),
            ("who read secrets, 30 days", f"/who?verb=get&resource=secrets&namespace={namespace}&since=30d"), ("visits", f"/visits?since={since}"),
            ("sessions", f"/sessions?since={since}"), ("permissions of an actor", f"/permissions?subject={actor}"),
            ("role of an actor", f"/permissions/role?subject={actor}"), ("coverage", "/coverage"),
            ("coverage of 30 days", "/coverage?since=30d"), ("rules", "/rules"), ("a rule", f"/rule?id={RULE_ID}"),
            ("silences", "/silences"), ("delivery", "/delivery"), ("sources", "/sources"), ("ledger", "/ledger"),
            ("reports", "/reports")]


def crowd(server, paths, browsers, each):
    """Browsers that load pages at once, each some."""
    times, codes, lock = [], {}, threading.Lock()

    def browse(number):
        for turn in range(each):
            try:
                status, _, _, whole = server.ask(paths[(number + turn) % len(paths)])
            except (OSError, http.client.HTTPException) as error:
                status, whole = type(error).__name__, 0
            with lock:
                codes[status] = codes.get(status, 0) + 1
                if status == 200:
                    times.append(whole)
            time.sleep(1)

    threads = [threading.Thread(target=browse, args=(number,)) for number in range(browsers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{browsers} browsers, {each} pages each: p50 {share(times, 0.5):.0f} ms, p95 {share(times, 0.95):.0f} ms; "
          f"answers {codes}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", nargs="?", default="target/release/tripline")
    arguments.add_argument("--accesses", type=int, default=1_000_000)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--ledger", type=os.path.abspath)
    arguments.add_argument("--pages", action="store_true")
    asked = arguments.parse_args()
    binary = os.path.abspath(asked.binary)
    with tempfile.TemporaryDirectory() as directory:
        server = Server(binary, Path(directory), asked.ledger)
        try:
            run(server, binary, asked)
        finally:
            server.process.kill()
            server.process.wait()


def run(server, binary, asked):
    until("it is ready", lambda: server.ask("/readyz")[0] == 200)
    pipe, number = server.process.stdin, 0

    def write(count):
        nonlocal number
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        for _ in range(count):
            pipe.write((EVENT % (number, number, now, now)).encode())
            number += 1
        pipe.flush()

    began = time.time()
    if not asked.ledger:
        rate = asked.accesses / (30 * 86_400)
        generate = [binary, "generate", "--count", str(asked.accesses), "--rate", str(max(rate, 0.1))]
        subprocess.run(generate, stdout=pipe, check=True)
    write(1)
    until("the traffic is read", lambda: server.json("/api/v1/alerts?limit=1")["total"] >= RULES)
    if not asked.ledger:
        print(f"{asked.accesses} events recorded in {time.time() - began:.0f} s", flush=True)
    began, cpu = time.time(), server.cpu()
    write(USERS - 1)
    until("all fire", lambda: server.json("/api/v1/alerts?limit=1")["total"] >= RULES * USERS)
    print(f"{RULES * USERS} alerts fire after {time.time() - began:.1f} s, {server.cpu() - cpu:.1f} s of CPU; "
          f"{server.memory()} MiB", flush=True)

    page = server.ask("/alerts")[1].decode()
    alert = re.search(r'tr data-href="([^"]+)"', page)[1].replace("&amp;", "&").replace("&#38;", "&")
    pages = [("overview", "/"), ("alert list", "/alerts"), ("alert list by rule", "/alerts?group=rule"),
             ("alert list of a day", "/alerts?state=all"), ("alert page", alert)] + pages_of_ledger(server)
    for name, path in pages:
        measure(server, name, path, asked.requests)
    if asked.pages:
        return
    scripts = {name for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page)}
    for name in sorted(scripts):
        print(f"{name.split('/')[-1]}: {len(server.ask(name)[1]) / 1000:.1f} kB", flush=True)
    streams = with_streams(server, 32, 20, write)
    for stream in streams:
        stream.is_over = True
    time.sleep(26)
    streams = with_streams(server, 200, 20, write, slow=1)
    crowd(server, [path for _, path in pages[:6]], 200, 3)
    print(f"{sum(stream.refused for stream in streams)} streams were refused; {server.memory()} MiB", flush=True)
    for stream in streams:
        stream.is_over = True
    for people in (0, 10, 0, 10, 0, 10):
        with_people(server, binary, [path for _, path in pages[:6]], write, 100_000, people)
    for name, path in pages[:2]:
        measure(server, name + ", afterwards", path, min(asked.requests, 50))


if __name__ == "__main__":
    main()
