"""What the trial is made with: the test bed, the processes that it starts, and the tracker."""

import json
import os
import re
import subprocess
import time
import urllib.request

HERE = os.path.dirname(os.path.realpath(__file__))


def wait_until(ready, seconds, every=0.1):
    end = time.time() + seconds
    while time.time() < end:
        if ready():
            return True
        time.sleep(every)
    return bool(ready())


def rfc3339(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


class Processes:
    """Processes that end with this one, whatever becomes of it."""

    def __init__(self):
        self.running = []

    def start(self, argv, log, env=None):
        with open(log, "ab") as file:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       env={**os.environ, "NO_COLOR": "1", **(env or {})})
        self.running.append(process)
        return process

    def end(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()


class Bed:
    def __init__(self, program):
        self.program = program
        exported = re.findall(r"^export (\w+)=(\S+)$", self.run("env"), re.M)
        self.env = {key: value.replace("$PATH", os.environ["PATH"]) for key, value in exported}
        self.nodes = ["node1", "node2"]
        self.state = os.path.dirname(os.path.dirname(self.env["KUBECONFIG"]))

    def run(self, *words, timeout=120):
        done = subprocess.run([self.program, *words], capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"testbed {' '.join(words)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def kubectl(self, *words, check=True):
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=60, env={**os.environ, **self.env})
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(words)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def socket(self, node):
        return self.env[f"PODTRAIL_TESTBED_{node.upper()}_CRI"].removeprefix("unix://")

    def link(self, node, state):
        """Takes a node's only link down or up."""
        subprocess.run(["ip", "-n", "ptb-control", "link", "set", node, state], check=True)

    def forget_last_address(self):
        """The next pod of each node gets the lowest free address: freed ones are given out again at once, as busy clusters do."""
        for node in self.nodes:
            folder = f"{self.state}/{node}/ipam/testbed"
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                if name.startswith("last_reserved_ip"):
                    try:
                        os.remove(f"{folder}/{name}")
                    except FileNotFoundError:
                        pass


class Ledger:
    """What is asked of a tracker's ledger, whether it runs or not."""

    def __init__(self, binary, ledger):
        self.binary, self.ledger = binary, ledger

    def ask(self, *words, ok=True):
        done = subprocess.run([self.binary, *words, "--ledger", self.ledger], capture_output=True, text=True, timeout=60)
        if ok and done.returncode:
            raise RuntimeError(f"tracker {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout if ok else done

    def who_had(self, ip, at):
        return json.loads(self.ask("who-had", ip, "--at", rfc3339(at), "-o", "json"))

    def history(self, *words):
        return [json.loads(line) for line in self.ask("history", *words, "-o", "json").split("\n") if line]


class Tracker(Ledger):
    """A tracker outside the cluster, with a ledger and an event file of its own."""

    def __init__(self, processes, binary, home, kubeconfig, event_format, port):
        super().__init__(binary, f"{home}/{event_format}.db")
        self.processes, self.format, self.port, self.process = processes, event_format, port, None
        self.events, self.log = f"{home}/{event_format}.ndjson", f"{home}/{event_format}.log"
        self.argv = [binary, "run", "--kubeconfig", kubeconfig, "--ledger", self.ledger, "--writer", f"file:{self.events}", "--event-format",
                     event_format, "--tracked-by", "real", "--confirm-every", "5s", "--listen", f"127.0.0.1:{port}"]

    def start(self):
        self.process = self.processes.start(self.argv, self.log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            return "still running 20 s after SIGTERM"

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.read().decode()
        except OSError:
            return None

    def ready(self):
        return self.get("/readyz") is not None

    def lines(self):
        """The whole lines so far."""
        if not os.path.exists(self.events):
            return []
        with open(self.events) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
