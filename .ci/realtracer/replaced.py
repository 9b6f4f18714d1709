"""Sandboxes that are killed, forced away and replaced under the same names while tracers run in a loop: each ran in a namespace of its pod's, or
was refused."""

import collections
import random
import re
import subprocess
import threading
import time

from stage import read_json
from bed import wait_until

NAMES = ["db-0", "db-1", "db-2"]
WAYS = ["killed", "forced", "deleted"]
SECONDS = 45
SHOW = ["ip", "-j", "link", "show", "eth0"]


class Run(collections.namedtuple("Run", "name began ended code out err")):
    """A tracer that has ended. What its tool shows is the hardware address, which no other namespace had before or will have."""

    def address(self):
        shown = read_json(self.out)
        return shown[0].get("address") if shown else None


def judge(stage):
    for name in NAMES:
        stage.create(name)
    for name in NAMES:
        stage.running(name)
    over, seen = threading.Event(), Seen(stage)
    tracers = [Looping(stage, n, over) for n in range(4)]
    seen.look()
    for thread in (seen, *tracers):
        thread.start()
    done = churn(stage)
    over.set()
    for thread in tracers:
        thread.join()
    time.sleep(0.5)
    seen.over.set()
    seen.join()
    runs = [run for thread in tracers for run in thread.runs]
    stage.verdict("sandboxes were replaced in each way", all(done[way] > 1 for way in WAYS), f"{dict(done)}, {len(seen.sandboxes)} sandboxes seen")
    ran = [run for run in runs if run.code == 0]
    wrong = [run for run in ran if not seen.had(run)]
    stage.verdict("every tool that ran was in a namespace of its pod's", not wrong and len(ran) > 50,
                  f"{len(wrong)} of {len(ran)} wrong: {[(run.name, run.began, seen.owners(run)) for run in wrong[:3]]}")
    # Its sandbox has just ended, and the CNI plugins have taken the network down.
    emptied = [run for run in runs if run.code == 1 and run.err == 'Device "eth0" does not exist.']
    refused = [run for run in runs if run.code and run not in emptied]
    odd = [run for run in refused if run.code != 69 or run.out or run.name not in run.err]
    why = collections.Counter(re.sub("[0-9a-f]{20,}", "…", run.err).rsplit("/", 1)[-1][6:90] for run in refused)
    stage.verdict("every other was refused, and the pod named", refused and not odd,
                  f"{len(odd)} of {len(refused)} odd; {len(emptied)} came when its network went; {odd[:1]} {why.most_common(4)}")


class Looping(threading.Thread):
    """Runs one tracer after the other; every second one of these asks the runtime alone."""

    def __init__(self, stage, number, over):
        super().__init__(daemon=True)
        self.stage, self.over, self.local, self.runs = stage, over, number % 2 == 1, []
        self.rng = random.Random(f"{stage.options.seed}/{number}")

    def run(self):
        while not self.over.is_set():
            name, began = self.rng.choice(NAMES), time.time()
            got = self.stage.tracer("run", "--pod", f"default/{name}", "--", *SHOW, local=self.local)
            self.runs.append(Run(name, began, time.time(), got.returncode, got.stdout.strip(), got.stderr.strip()))


def churn(stage):
    """Ends one sandbox after the other; pods of the same names get the addresses of those that went."""
    rng, done, end = random.Random(stage.options.seed), collections.Counter(), time.time() + SECONDS
    while time.time() < end:
        name, way = rng.choice(NAMES), WAYS[done.total() % len(WAYS)]
        stage.bed.forget_last_address()
        pod = stage.cluster.get("default", name)
        if way == "killed":
            sandbox, _ = stage.sandbox("node1", pod["metadata"]["uid"])
            if sandbox is None:
                time.sleep(0.2)
                continue
            stage.ctr("node1", "tasks", "kill", "-s", "KILL", sandbox)
        else:
            stage.cluster.delete("default", name, 0 if way == "forced" else 1)
            stage.gone(name)
            stage.create(name)
        done[way] += 1
        time.sleep(rng.uniform(0.3, 2))
        wait_until(lambda: stage.cluster.runs("default", name), 20)
    return done


class Sandbox:
    """A sandbox that containerd knew, and when its namespace was first seen to be gone."""

    def __init__(self, name, path):
        self.name, self.netns, self.address = name, path.rsplit("/", 1)[-1], None
        self.gone = None

    def look(self):
        done = subprocess.run(["ip", "-n", self.netns, *SHOW[1:]], capture_output=True, text=True, timeout=10)
        if shown := read_json(done.stdout):
            self.address = shown[0]["address"]
        else:
            self.gone = time.time()


class Seen(threading.Thread):
    """Which sandboxes there are, as containerd's own client says."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self.stage, self.over, self.sandboxes = stage, threading.Event(), {}

    def run(self):
        while not self.over.wait(0.1):
            self.look()

    def look(self):
        for container in self.stage.ctr("node1", "containers", "ls", "-q", 'labels."io.cri-containerd.kind"==sandbox').split():
            if container not in self.sandboxes and (info := read_json(self.stage.ctr("node1", "containers", "info", container))):
                paths = {namespace["type"]: namespace.get("path") for namespace in info["Spec"]["linux"]["namespaces"]}
                if path := paths.get("network"):
                    self.sandboxes[container] = Sandbox(info["Labels"]["io.kubernetes.pod.name"], path)
        for sandbox in self.sandboxes.values():
            if sandbox.name in NAMES and not sandbox.gone:
                sandbox.look()

    def had(self, run):
        """Whether the namespace was that of a sandbox of the pod's, which was not gone when the tracer began."""
        return any(name == run.name and (gone is None or gone > run.began) for name, gone in self.owners(run))

    def owners(self, run):
        address = run.address()
        return [(sandbox.name, sandbox.gone) for sandbox in self.sandboxes.values() if sandbox.address == address]
