"""The trial: what is started, killed and asked, in order. Leaves all that the judges need in a folder."""

import json
import os
import random
import socket
import sys
import time

from api import Api
from bed import HERE, Bed, Ledger, Processes, Tracker, wait_until
from scenario import Churn, Cluster, end_special_pods, kill_container, special_pods

ACCOUNT = "system:serviceaccount:podtrail:tracker"
MAY = [("get", "pods"), ("list", "pods"), ("watch", "pods"), ("list", "nodes"), ("watch", "nodes"), ("get", "namespaces")]
MAY_NOT = [(verb, "pods") for verb in ("create", "update", "patch", "delete", "deletecollection")] + [
    ("create", "pods/exec"), ("create", "pods/eviction"), ("update", "pods/status"), ("patch", "nodes"), ("delete", "namespaces"), ("get", "secrets"),
    ("list", "configmaps"), ("create", "events"), ("get", "nodes"), ("list", "namespaces"), ("watch", "namespaces")]


def free_port():
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


class Trial:
    def __init__(self, options):
        self.options, self.home, self.processes = options, options.home, Processes()
        self.bed = Bed(options.testbed)
        self.api = Api(self.bed.env["KUBECONFIG"])
        self.cluster, self.rng = Cluster(self.api), random.Random(options.seed)
        self.lost, self.notes, self.now_answers = [], {}, []
        self.began = time.time()

    def say(self, text):
        print(f"     {time.time() - self.began:5.1f} s: {text}", file=sys.stderr, flush=True)

    def prepare(self):
        """Puts the tracker into the cluster with the manifests that users get, and starts what watches the truth."""
        bed, home = self.bed, self.home
        bed.run("image", "localhost/tracker:1", f"{self.options.binary}:/usr/local/bin/tracker")
        os.makedirs(f"{home}/volume")
        os.chown(f"{home}/volume", 65532, 65532)
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "ledger"}, "spec": {
            "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"{home}/volume", "type": "Directory"}}}
        self.cluster.try_hard("POST", "/api/v1/persistentvolumes", volume)
        bed.kubectl("apply", "-k", self.options.manifests)
        token = bed.kubectl("-n", "podtrail", "create", "token", "tracker", "--duration", "1h").strip()
        self.kubeconfig = f"{home}/kubeconfig"
        with open(os.open(self.kubeconfig, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {"token": token}}],
                       "clusters": [{"name": "c", "cluster": {"server": self.api.server, "certificate-authority": self.api.authority}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, file)
        python = [sys.executable, "-B", "-u"]
        self.recorder = self.processes.start([*python, f"{HERE}/api.py", bed.env["KUBECONFIG"], f"{home}/frames"], f"{home}/log")
        sockets = [f"{node}={bed.socket(node)}" for node in bed.nodes]
        self.sampler = self.processes.start([*python, f"{HERE}/addresses.py", f"{home}/held", *sockets], f"{home}/log")
        for namespace in ("team-a", "team-b"):
            self.cluster.namespace(namespace)
        binary = self.options.binary
        self.trackers = [Tracker(self.processes, binary, home, self.kubeconfig, form, free_port()) for form in ("podtracker", "podtrail")]
        self.inner = Ledger(binary, f"{home}/volume/ledger.db")  # of the tracker in the cluster

    def start_trackers(self):
        for tracker in self.trackers:
            tracker.start()

    def kill_trackers(self):
        for tracker in self.trackers:
            tracker.kill()

    def ready(self, seconds=30):
        return wait_until(lambda: all(tracker.ready() for tracker in self.trackers), seconds)

    def ask_now(self, when):
        """Who has the address of a pod that stays, and of a node, at this moment."""
        pod = self.cluster.get("team-a", "stays")
        for tracker in self.trackers:
            for ip, uid in ((pod["status"]["podIP"], pod["metadata"]["uid"]), ("198.18.0.11", None)):
                said = tracker.who_had(ip, time.time() - 0.01)
                named = [claim["uid"] for claim in said["claims"]]
                good = said["answer"] in ("certain", "presumed") and (uid is None or named == [uid])
                self.now_answers.append((when, tracker.format, ip, said["answer"], good))

    def sees_again(self, seconds=60):
        """How long it takes each tracker from now until it knows what there is: the two outside the cluster, and the one inside."""
        began, took = time.time(), {}
        trackers = {"podtracker": self.trackers[0], "podtrail": self.trackers[1], "inside": self.inner}

        def all_know():
            for name, tracker in trackers.items():
                if name not in took and tracker.who_had("198.18.0.11", time.time() - 0.01)["answer"] in ("certain", "presumed"):
                    took[name] = round(time.time() - began, 1)
            return len(took) == len(trackers)

        wait_until(all_know, seconds)
        return took

    def gaps(self):
        lines = [line for line in self.trackers[1].lines() if line["event"] == "gap"]
        return {source: sum(line["source"] == source for line in lines) for source in ("pods", "nodes")}

    def count_gaps(self, what, before):
        self.notes[what] = {source: n - before[source] for source, n in self.gaps().items()}

    def run(self):
        self.prepare()
        self.cluster.create("team-a", {"metadata": {"name": "older"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "localhost/busybox:1", "command": ["sleep", "1000"]}]}})
        wait_until(lambda: self.cluster.runs("team-a", "older"), 40)
        self.say("trackers start")
        self.start_trackers()
        self.notes["started"] = self.ready()
        self.watched_from = time.time()
        special_pods(self.cluster)
        churn = self.churn = Churn(self.cluster, self.bed, self.rng)
        churn.start()
        try:
            for step in (self.deletions, self.kills, self.api_server_away, self.history_lost, self.dead_kubelet, self.new_sandbox, self.cut_off_node):
                self.say(step.__doc__.splitlines()[0])
                step()
        finally:
            churn.end_all()
        self.notes["churned"], self.notes["churn errors"] = churn.count, churn.errors
        self.finish()

    def deletions(self):
        """Pods are deleted, evicted and forced away, and a StatefulSet makes one of the same name again."""
        names = {"annotated", "bare", "evicted", "forced", "abandoned", "stays", "on-a-dead-kubelet", "new-sandbox", "ends-cut-off", "db-0", "db-1",
                 *(f"ends-unseen-{n}" for n in range(3))}
        running = lambda: {p["metadata"]["name"] for p in self.cluster.pods() if p["status"].get("phase") == "Running"}  # noqa: E731
        wait_until(lambda: running() >= names, 60, 0.5)
        time.sleep(2.5)
        self.ask_now("all run")
        cluster = self.cluster
        first = cluster.get("team-a", "db-0")["metadata"]["uid"]
        cluster.delete("team-a", "db-0")
        cluster.delete("team-a", "bare")
        cluster.evict("team-b", "evicted")
        cluster.delete("team-b", "forced", 0)
        cluster.delete("team-b", "abandoned")
        time.sleep(1)
        cluster.delete("team-b", "abandoned", 0)
        self.notes["recreated"] = wait_until(lambda: cluster.runs("team-a", "db-0") and cluster.get("team-a", "db-0")["metadata"]["uid"] != first, 30)
        time.sleep(15)

    def kills(self):
        """The tracker is killed and started, again and again, then is away for a while."""
        before = self.gaps()
        for _ in range(4):
            self.kill_trackers()
            time.sleep(self.rng.uniform(0, 0.5))
            self.start_trackers()
            time.sleep(self.rng.uniform(0.3, 2))
        self.ready()
        self.kill_trackers()
        time.sleep(4)
        self.start_trackers()
        self.notes["resumed"] = self.ready()
        time.sleep(1)
        self.count_gaps("gaps of kills", before)
        self.ask_now("after the kills")

    def api_server_away(self):
        """The API server is killed, containers end meanwhile, and it is started."""
        before = self.gaps()
        uids = [self.cluster.get("team-b", f"ends-unseen-{n}")["metadata"]["uid"] for n in range(3)]
        began = time.time()
        self.bed.run("kill", "kube-apiserver")
        for uid in uids:
            time.sleep(2.5)
            kill_container(self.bed, uid)
        time.sleep(1.5)
        self.bed.run("start", "kube-apiserver")
        self.notes["sees again after the API server"] = self.sees_again()
        self.lost.append((began - 1, time.time()))
        self.count_gaps("gaps of the API server", before)
        self.ask_now("after the API server")
        time.sleep(5)

    def history_lost(self):
        """etcd is compacted while the tracker is away."""
        before = self.gaps()
        self.kill_trackers()
        began = time.time()
        names = [f"brief-{n}" for n in range(4)]
        for name in names:
            self.cluster.create("team-a", {"metadata": {"name": name}, "spec": {"containers": [
                {"name": "main", "image": "localhost/busybox:1", "command": ["sleep", "1000"]}]}})
        wait_until(lambda: all(self.cluster.runs("team-a", name) for name in names), 12)
        for name in names:
            self.cluster.delete("team-a", name, 0)
        self.bed.run("compact")
        # Not stopped: one that takes its leave takes the Service's endpoint along, which nodes notice late when it is back.
        self.bed.run("kill", "kube-apiserver")
        self.bed.run("start", "kube-apiserver")
        self.start_trackers()
        self.notes["sees again after lost history"] = self.sees_again()
        self.lost.append((began - 1, time.time()))
        time.sleep(1)
        self.count_gaps("gaps of lost history", before)
        self.ask_now("after the lost history")

    def dead_kubelet(self):
        """A pod is forced away while its kubelet is dead: its container goes on."""
        self.bed.run("kill", "node2.kubelet")
        self.cluster.delete("team-b", "on-a-dead-kubelet", 0)
        time.sleep(6)
        self.bed.run("start", "node2.kubelet")

    def new_sandbox(self):
        """The process that holds a pod's namespace is killed: the pod gets another address."""
        pod = self.cluster.get("team-b", "new-sandbox")
        old = pod["status"]["podIP"]
        self.churn.reuse = False  # or it gets the one that it had
        kill_container(self.bed, pod["metadata"]["uid"], "sandbox")
        self.notes["new address"] = wait_until(lambda: self.cluster.get("team-b", "new-sandbox")["status"].get("podIP", old) != old, 40)
        self.churn.reuse = True
        time.sleep(4)

    def cut_off_node(self):
        """A node cannot reach the API server, a container on it ends, and it can again."""
        uid = self.cluster.get("team-b", "ends-cut-off")["metadata"]["uid"]
        self.bed.link("node2", "down")
        try:
            time.sleep(1)
            kill_container(self.bed, uid)
            time.sleep(12)
        finally:
            self.bed.link("node2", "up")
        time.sleep(4)

    def finish(self):
        self.say("all pods end")
        end_special_pods(self.cluster)
        left = lambda: [p for p in self.cluster.pods() if p["metadata"]["namespace"].startswith("team-")]  # noqa: E731
        self.notes["all pods gone"] = wait_until(lambda: not left(), 100, 0.5)
        time.sleep(7)
        self.say("trackers end")
        self.inside = self.judge_inside()
        self.watched_to = time.time()
        self.exits = [tracker.terminate() for tracker in self.trackers]
        self.sampler.terminate()
        self.sampler.wait(10)
        self.recorder.kill()
        with open(f"{self.home}/trial.json", "w") as file:
            inside = {**self.inside, "may": [[*key, may] for key, may in self.inside["may"].items()]}
            json.dump({"lost": self.lost, "notes": self.notes, "watched": [self.watched_from, self.watched_to], "exits": self.exits,
                       "now answers": self.now_answers, "inside": inside}, file, indent=1)

    def judge_inside(self):
        """What the tracker inside the cluster made of it."""
        bed = self.bed
        pod = json.loads(bed.kubectl("-n", "podtrail", "get", "pods", "-o", "json"))["items"]
        logs = bed.kubectl("-n", "podtrail", "logs", "deploy/tracker", check=False)
        with open(f"{self.home}/inside.log", "w") as file:
            file.write(logs)
        may = {}
        for verb, resource in [*MAY, *MAY_NOT]:
            may[verb, resource] = bed.kubectl("auth", "can-i", verb, resource, "--as", ACCOUNT, "--all-namespaces", check=False).strip() == "yes"
        return {"pods": pod, "lines": [json.loads(line) for line in logs.split("\n") if line.startswith("{")], "may": may}
