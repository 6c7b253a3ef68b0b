#!/usr/bin/env python3
"""Uses a daemon for a while as people do, and watches whether its memory grows.

A collection of FOLDER's text files is edited, searched and compacted, others come
and go, and a worker is killed now and then. Prints a line of JSON a round with
what daemon and workers hold in memory, and one at the end.

Exit code 0 if memory was flat: in the last third of the time the daemon and the
largest worker held at most a tenth and 8 MB more than in the middle third; of
fewer than nine rounds nothing is said. 1 if it was not, or if a command failed.

    benchmarks/corpus_to_files.py ../shared/data/til_notes/corpus.jsonl.zst /tmp/til
    benchmarks/soak.py --bin build/release/bin --model MODEL /tmp/til
"""

import argparse
import atexit
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

KILL_EVERY = 7  # rounds
COMPACT_EVERY = 5
LEAST_ROUNDS = 9  # to judge memory by


def resident_mb(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended since it was listed
    return 0.0


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]


class Daemon:
    def __init__(self, options, directory):
        self.pith = str(options.bin / "pith")
        self.common = ["--data-dir", str(directory / "data"), "--no-start"]
        self.failures = []
        self.log = open(directory / "log", "w")
        self.process = subprocess.Popen(
            [str(options.bin / "pithd"), "--data-dir", str(directory / "data"),
             "--default-model", options.model, *options.pithd],
            stderr=self.log)
        deadline = time.time() + 30
        while self.run("status", expected=(0, 2)).returncode != 0:
            if time.time() > deadline or self.process.poll() is not None:
                sys.exit(f"pithd does not serve: see {directory / 'log'}")
            time.sleep(0.05)

    def run(self, *words, expected=(0,)):
        result = subprocess.run([self.pith, *self.common, *words],
                                capture_output=True, text=True)
        if result.returncode not in expected:
            self.failures.append(f"{' '.join(words)}: {result.stderr.strip()}")
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--searches", type=int, default=40, help="a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pithd", action="append", default=[], metavar="ARGUMENT",
                        help="given to the daemon")
    options = parser.parse_args()
    chance = random.Random(options.seed)

    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is no folder")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pith-soak-"))
    source = directory / "source"
    shutil.copytree(options.folder, source)
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    words = [word for path in files[:200]
             for word in re.findall("[a-z]+", path.read_text(errors="replace")[:400])]
    if not words:
        shutil.rmtree(directory)
        sys.exit(f"{options.folder} has no text")

    daemon = Daemon(options, directory)
    atexit.register(daemon.process.kill)
    pid = daemon.process.pid
    start = time.time()
    rounds = []
    kills = 0
    searches = 0
    while time.time() - start < options.seconds:
        number = len(rounds) + 1
        # Some files change.
        for path in chance.sample(files, max(1, len(files) // 20)):
            path.write_text(" ".join(chance.choices(words, k=60)) + "\n\n" +
                            path.read_text(errors="replace")[:4000])
        daemon.run("add", str(source))
        # One that is here for a short time.
        passing = f"passing{number}"
        daemon.run("collection", "create", passing)
        daemon.run("-c", passing, "add", str(files[0].parent))
        for i in range(options.searches):
            query = " ".join(chance.choices(words, k=4))
            daemon.run("-c", passing if i % 2 else "default", "search", query,
                       expected=(0, 1))
            searches += 1
        if number % KILL_EVERY == 0 and (workers := children(pid)):
            os.kill(chance.choice(workers), signal.SIGKILL)
            kills += 1
        if number % COMPACT_EVERY == 0:
            daemon.run("compact")
        daemon.run("collection", "delete", passing)
        rounds.append({"seconds": round(time.time() - start, 1),
                       "daemon_mb": round(resident_mb(pid), 1),
                       "workers_mb": [round(resident_mb(worker), 1) for worker in children(pid)],
                       "failures": len(daemon.failures)})
        print(json.dumps(rounds[-1]), flush=True)

    daemon.process.terminate()
    code = daemon.process.wait(timeout=60)
    if code != 0:
        daemon.failures.append(f"pithd ended with code {code}")

    def most(rows):
        return (max(row["daemon_mb"] for row in rows),
                max(max(row["workers_mb"], default=0.0) for row in rows))

    third = max(1, len(rounds) // 3)
    before, after = most(rounds[-2 * third:-third] or rounds), most(rounds[-third:])
    flat = None
    if len(rounds) >= LEAST_ROUNDS:
        flat = all(late <= 1.1 * early + 8 for early, late in zip(before, after))
    print(json.dumps({"benchmark": "soak", "seconds": round(time.time() - start), "rounds": len(rounds),
                      "searches": searches, "workers_killed": kills,
                      "daemon_mb": [before[0], after[0]], "largest_worker_mb": [before[1], after[1]],
                      "flat": flat, "failures": daemon.failures[:10]}))
    if daemon.failures or flat is False:
        print(f"kept: {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
