"""What the trials of the tracer are made with: pods on the test bed, tracers of its nodes, and what the kernel says of both."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/../realcluster")
from api import Api  # noqa: E402
from bed import Bed, Processes, wait_until  # noqa: E402
from scenario import HEEDS, Cluster, manifest  # noqa: E402

SERVES = "echo hello >/tmp/hello; exec httpd -f -p 8080 -h /tmp"


class Verdict:
    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name, good, figure):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {name}: {' '.join(str(figure).split())[:300]}", flush=True)


class Pod:
    """A pod that runs, and the process that holds its namespaces."""

    def __init__(self, stage, found):
        self.object = found
        metadata, status = found["metadata"], found["status"]
        self.name, self.namespace, self.uid = metadata["name"], metadata["namespace"], metadata["uid"]
        self.node, self.ip = found["spec"]["nodeName"], status["podIP"]
        self.title = f"{self.namespace}/{self.name}"
        self.sandbox, self.pid = stage.sandbox(self.node, self.uid)
        self.netns = f"/proc/{self.pid}/ns/net"

    def inode(self):
        return os.readlink(self.netns)

    def inside(self, *command, **options):
        """Runs a command in its network, without the project."""
        return subprocess.run(["nsenter", f"--net={self.netns}", "--", *command], capture_output=True, text=True, timeout=30, **options)

    def container_pid(self, stage, name):
        """The first process of one of its containers, by the id that the API says."""
        states = {state["name"]: state["containerID"] for state in self.object["status"]["containerStatuses"]}
        return stage.task(self.node, states[name].split("://")[1])


class Stage:
    def __init__(self, options):
        self.options, self.home, self.binary = options, options.home, options.binary
        self.bed, self.processes, self.verdict = Bed(options.testbed), Processes(), Verdict()
        self.api = Api(self.bed.env["KUBECONFIG"])
        self.cluster, self.began = Cluster(self.api), time.time()

    def say(self, text):
        print(f"     {time.time() - self.began:5.1f} s: {text}", file=sys.stderr, flush=True)

    # What containerd says, by its own client.

    def ctr(self, node, *words):
        done = subprocess.run(["ctr", "-a", self.bed.socket(node), "-n", "k8s.io", *words], capture_output=True, text=True, timeout=30)
        return done.stdout

    def task(self, node, container):
        for line in self.ctr(node, "tasks", "list").splitlines()[1:]:
            name, pid, state = line.split()
            if name == container and state == "RUNNING":
                return int(pid)
        return None

    def sandbox(self, node, uid):
        """The id and the process of a pod's sandbox that runs; None, None if there is none."""
        wanted = f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"==sandbox'
        for name in self.ctr(node, "containers", "ls", "-q", wanted).split():
            if pid := self.task(node, name):
                return name, pid
        return None, None

    # Pods.

    def create(self, name, command=HEEDS, namespace="default", node="node1", labels=None, **spec):
        self.cluster.create(namespace, manifest(name, command, 1, labels, nodeName=node, **spec))

    def running(self, name, namespace="default", seconds=40):
        if not wait_until(lambda: self.cluster.runs(namespace, name), seconds):
            raise RuntimeError(f"pod {namespace}/{name} does not run: {self.bed.kubectl('-n', namespace, 'describe', 'pod', name)[-900:]}")
        return Pod(self, self.cluster.get(namespace, name))

    def gone(self, name, namespace="default", seconds=40):
        return wait_until(lambda: self.cluster.gone(namespace, name), seconds)

    # Tracers.

    def environment(self, node, local):
        """With `local` there is no API to be asked."""
        return {**os.environ, "NODE_NAME": node, "NO_COLOR": "1", "CONTAINER_RUNTIME_ENDPOINT": f"unix://{self.bed.socket(node)}",
                "KUBECONFIG": "/nonexistent" if local else self.bed.env["KUBECONFIG"]}

    def words(self, verb, words, local):
        return [self.binary, verb, *(["--local"] if local else []), *words]

    def tracer(self, verb, *words, node="node1", local=False, text=None, binary=False, timeout=40, before=()):
        """Runs one to its end. `before`: what it is started by."""
        return subprocess.run([*before, *self.words(verb, words, local)], input=text, stdin=None if text is not None else subprocess.DEVNULL,
                              capture_output=True, text=not binary, env=self.environment(node, local), timeout=timeout)

    def start(self, verb, *words, node="node1", local=False, stdout=subprocess.PIPE):
        """Starts one, which ends with this process."""
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *self.words(verb, words, local)], stdin=subprocess.DEVNULL, stdout=stdout,
                                   stderr=subprocess.PIPE, text=stdout == subprocess.PIPE, env=self.environment(node, local))
        self.processes.running.append(process)
        return process

    def fetch(self, source, target, times=1):
        """Packets from one pod to another."""
        for _ in range(times):
            source.inside("curl", "-s", "-m", "5", "-o", "/dev/null", f"http://{target.ip}:8080/hello")


def rows(text):
    return [line.split("\t") for line in text.splitlines()]


def tshark(path, *fields, narrow=""):
    """The fields of each packet of a file, and what tshark complains about."""
    words = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-n", "-r", path, "-Y", narrow, "-T", "fields", "-E", "aggregator=|", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    return rows(done.stdout), complaints if done.returncode == 0 else [*complaints, f"exit {done.returncode}"]


def files(folder):
    return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]


def read_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return None
