"""What happens in the cluster: pods that come, run, and go in every way, while the tracker and the API server are killed."""

import http.client
import subprocess
import threading
import time

from api import Refused
from bed import wait_until

IMAGE = "localhost/busybox:1"
HEEDS = "trap 'exit 0' TERM; sleep 1000 & wait"
IGNORES = "sleep 1000"


def manifest(name, command, grace=2, labels=None, annotations=None, **spec):
    metadata = {"name": name, **({"labels": labels} if labels is not None else {}), **({"annotations": annotations} if annotations else {})}
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", command]}
    return {"metadata": metadata, "spec": {"terminationGracePeriodSeconds": grace, "containers": [container], **spec}}


def node_of(name):
    return {"nodeName": name}


class Cluster:
    """Makes and unmakes objects; an API server that is away is asked again."""

    def __init__(self, api):
        self.api = api

    def try_hard(self, method, path, body=None, seconds=30):
        end = time.time() + seconds
        while True:
            try:
                return self.api.ask(method, path, body)
            except Refused as refused:
                if refused.status in (404, 409):
                    return None
                if refused.status < 500 and refused.status not in (403, 429) or time.time() > end:
                    raise
            except (OSError, http.client.HTTPException):
                if time.time() > end:
                    raise
            time.sleep(0.2)

    def namespace(self, name):
        self.try_hard("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        wait_until(lambda: self.try_hard("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default"), 20)

    def create(self, namespace, pod):
        return self.try_hard("POST", f"/api/v1/namespaces/{namespace}/pods", pod)

    def delete(self, namespace, name, grace=None):
        body = {} if grace is None else {"gracePeriodSeconds": grace}
        return self.try_hard("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body)

    def evict(self, namespace, name):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        return self.try_hard("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)

    def job(self, namespace, name, command, ttl=None):
        template = manifest(name, command, restartPolicy="Never")["spec"]
        spec = {"backoffLimit": 0, "template": {"spec": template}, **({} if ttl is None else {"ttlSecondsAfterFinished": ttl})}
        self.try_hard("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", {"metadata": {"name": name}, "spec": spec})

    def stateful_set(self, namespace, name, replicas):
        labels = {"app": name}
        spec = {"serviceName": name, "replicas": replicas, "podManagementPolicy": "Parallel", "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": manifest(name, HEEDS)["spec"]}}
        self.try_hard("POST", f"/apis/apps/v1/namespaces/{namespace}/statefulsets", {"metadata": {"name": name}, "spec": spec})

    def remove(self, path, **options):
        self.try_hard("DELETE", path, {"propagationPolicy": "Background", **options})

    def get(self, namespace, name):
        return self.try_hard("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def pods(self):
        return self.try_hard("GET", "/api/v1/pods")["items"]

    def runs(self, namespace, name):
        pod = self.get(namespace, name)
        return bool(pod) and pod["status"].get("phase") == "Running" and bool(pod["status"].get("podIP"))

    def gone(self, namespace, name):
        return self.get(namespace, name) is None


class Churn(threading.Thread):
    """Pods all the time, a few alive at once, whose addresses are given out again at once."""

    WAYS = ["graceful"] * 3 + ["slow"] * 2 + ["forced", "abandoned", "evicted", "completed", "completed", "failed", "shared"]

    def __init__(self, cluster, bed, rng, births=0.8):
        super().__init__(daemon=True)
        self.cluster, self.bed, self.rng, self.births = cluster, bed, rng, births
        self.stop, self.due, self.count, self.errors = threading.Event(), [], 0, []
        self.reuse = True  # give freed addresses out again at once

    def run(self):
        last = time.time()
        while not self.stop.wait(0.2):
            try:
                if self.reuse:
                    self.bed.forget_last_address()
                if time.time() - last > 1 / self.births and len(self.due) < 16:
                    last = time.time()
                    self.born()
                for entry in [e for e in self.due if e[0] <= time.time()]:
                    self.due.remove(entry)
                    self.end(*entry[1:])
            except Exception as error:  # the trial goes on, and judges it
                self.errors.append(repr(error))

    def born(self):
        self.count += 1
        rng, way, name = self.rng, self.rng.choice(self.WAYS), f"churn-{self.count}"
        command, options = HEEDS, {}
        if way in ("slow", "abandoned"):
            command = IGNORES
        if way in ("completed", "failed"):
            command, options = f"sleep {rng.randrange(1, 8)}; exit {int(way == 'failed')}", {"restartPolicy": "Never"}
        if way == "shared":
            options["hostNetwork"] = True
        if rng.random() < 0.3:
            options["initContainers"] = [{"name": "first", "image": IMAGE, "command": ["sleep", str(rng.randrange(1, 3))]}]
        labels = rng.choice([None, {}, {"app": "churn", "n": str(self.count)}])
        self.cluster.create(rng.choice(["team-a", "team-b"]), manifest(name, command, rng.randrange(1, 5), labels, **options))
        self.due.append((time.time() + rng.uniform(5, 22), way, name))

    def end(self, way, name):
        for namespace in ("team-a", "team-b"):
            if way == "forced":
                self.cluster.delete(namespace, name, 0)
            elif way == "abandoned":  # its kubelet goes on with the grace that it was given first
                self.cluster.delete(namespace, name)
                self.cluster.delete(namespace, name, 0)
            elif way == "evicted":
                self.cluster.evict(namespace, name)
            else:
                self.cluster.delete(namespace, name)

    def end_all(self):
        self.stop.set()
        self.join()
        for entry in self.due:
            self.end(*entry[1:])


def special_pods(cluster):
    """One of each kind that is worth a look of its own; they end in `end_special_pods`."""
    text = {"note": "<tags> & \"quotes\" é \u2028 \\", "empty": ""}
    cluster.create("team-a", manifest("annotated", HEEDS, labels={"app": "a", "Zone": "z"}, annotations=text))
    cluster.create("team-a", manifest("bare", HEEDS, labels={}))
    cluster.create("team-a", manifest("shared-1", HEEDS, hostNetwork=True, **node_of("node1")))
    cluster.create("team-b", manifest("shared-2", HEEDS, hostNetwork=True, **node_of("node2")))
    cluster.create("team-a", manifest("restarts", "sleep 2; exit 1"))
    cluster.create("team-a", manifest("never-runs", HEEDS, nodeSelector={"no": "such"}))
    cluster.create("team-b", manifest("prepared", HEEDS, initContainers=[{"name": "first", "image": IMAGE, "command": ["sleep", "3"]}]))
    cluster.create("team-b", manifest("evicted", IGNORES, 3))
    cluster.create("team-b", manifest("forced", HEEDS, 30))
    cluster.create("team-b", manifest("abandoned", IGNORES, 15))
    cluster.create("team-b", manifest("on-a-dead-kubelet", HEEDS, **node_of("node2")))
    cluster.create("team-b", manifest("new-sandbox", HEEDS, **node_of("node1")))
    cluster.create("team-b", manifest("ends-cut-off", HEEDS, restartPolicy="Never", **node_of("node2")))
    cluster.create("team-a", manifest("stays", HEEDS, **node_of("node1")))
    for n in range(3):  # they end while the API server is away
        cluster.create("team-b", manifest(f"ends-unseen-{n}", HEEDS, restartPolicy="Never"))
    cluster.stateful_set("team-a", "db", 2)
    cluster.job("team-a", "short", "sleep 2")
    cluster.job("team-a", "instant", "true", ttl=4)
    cluster.job("team-a", "broken", "sleep 1; exit 3")


def end_special_pods(cluster):
    for job in ("short", "instant", "broken"):
        cluster.remove(f"/apis/batch/v1/namespaces/team-a/jobs/{job}")
    cluster.remove("/apis/apps/v1/namespaces/team-a/statefulsets/db")
    for pod in cluster.pods():
        if pod["metadata"]["namespace"].startswith("team-") and "deletionTimestamp" not in pod["metadata"]:
            cluster.delete(pod["metadata"]["namespace"], pod["metadata"]["name"])


def kill_container(bed, uid, kind="container"):
    """Kills the main process of a pod, as a crash would; kind `sandbox`: the one that holds its namespace, for which its kubelet makes a new one
    with a new address."""
    found = 0
    for node in bed.nodes:
        ctr = ["ctr", "-a", bed.socket(node), "-n", "k8s.io"]
        wanted = f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"=={kind}'
        listed = subprocess.run([*ctr, "containers", "ls", "-q", wanted], capture_output=True, text=True, check=True)
        for container in listed.stdout.split():
            subprocess.run([*ctr, "tasks", "kill", "-s", "KILL", container], capture_output=True, check=True)
            found += 1
    return found
