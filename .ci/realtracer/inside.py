"""The tracer inside the cluster: the manifests that users get, with exactly the rights that they give, and the Jobs of snoopy-operator."""

import copy
import json
import os
import shutil
import subprocess

from stage import files
from bed import wait_until
from tools import during, packets

NAMESPACE, SOCKET = "podtrail-tracer", "/run/containerd/containerd.sock"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAMESPACE}"


def judge(stage):
    image(stage)
    inside = Inside(stage)
    inside.works()
    inside.restarted()
    inside.capabilities()
    inside.enters()
    inside.jobs()
    inside.roles()
    inside.asked()


def image(stage):
    """busybox with the tracer under both of its names, and tools of Debian's; tcpdump with the user that it becomes."""
    for name in ("passwd", "group"):
        with open(f"/etc/{name}") as file, open(f"{stage.home}/{name}", "w") as own:
            own.writelines(line for line in file if line.split(":")[0] in ("root", "tcpdump"))
    tools = [f"{shutil.which(name, path='/usr/sbin:/usr/bin:/sbin:/bin')}:bin/{name}" for name in ("ip", "ss", "tcpdump")]
    stage.bed.run("image", "localhost/tracer:1", f"{stage.binary}:/usr/local/bin/tracer", f"{stage.binary}:usr/bin/podtracer", *tools,
                  f"{stage.home}/passwd:etc/passwd", f"{stage.home}/group:etc/group")


class Inside:
    def __init__(self, stage):
        self.stage, self.verdict, self.bed = stage, stage.verdict, stage.bed
        self.web = [stage.running(f"web-{n}") for n in (1, 2, 3)]
        self.apply()

    def apply(self):
        """The manifests as they are, but for where the runtime's folder is: each node of the test bed has one of its own."""
        home = self.stage.home
        shutil.copytree(self.stage.options.manifests, f"{home}/manifests")
        os.makedirs(f"{home}/overlay")
        pod = "/spec/template/spec"
        folders = os.path.dirname(os.path.dirname(self.bed.socket("node1")))
        patch = [{"op": "replace", "path": f"{pod}/volumes/1/hostPath", "value": {"path": folders, "type": "Directory"}},
                 {"op": "add", "path": f"{pod}/containers/0/volumeMounts/1/subPathExpr", "value": "$(NODE_NAME)"}]
        with open(f"{home}/overlay/kustomization.yaml", "w") as file:
            json.dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../manifests"],
                       "patches": [{"target": {"kind": "DaemonSet"}, "patch": json.dumps(patch)}]}, file)
        self.bed.kubectl("apply", "-k", f"{home}/overlay")
        self.bed.kubectl("-n", NAMESPACE, "rollout", "status", "ds/tracer", "--timeout=50s")
        self.template = self.object("daemonset", "tracer")["spec"]["template"]["spec"]
        pods = json.loads(self.bed.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
        self.tracers = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}

    def object(self, kind, name):
        return json.loads(self.bed.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json"))

    def run(self, *words, node="node1", inside=None):
        """Runs a tracer in the pod of this node, or in another."""
        return self.execute(inside or self.tracers[node], "tracer", *words)

    def execute(self, pod, *words):
        command = ["kubectl", "-n", NAMESPACE, "exec", pod, "--", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **self.bed.env})

    def works(self):
        """What users do, in the pods of the DaemonSet."""
        added = self.template["containers"][0]["securityContext"]["capabilities"]
        shared = [key for key in ("hostPID", "hostNetwork", "hostIPC") if self.template.get(key)]
        status = self.execute(self.tracers["node1"], "grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/self/status").stdout
        self.verdict("the pod shares nothing with its host, and has its capabilities and no more", not shared and added["drop"] == ["ALL"],
                     f"{added['add']} {status}")
        for pod in (self.web[0], self.web[2]):
            got = self.run("run", "--pod", pod.title, "--", "ip", "-o", "-4", "addr", "show", "eth0", node=pod.node)
            self.verdict(f"manifests: run in a pod of {pod.node}", f"inet {pod.ip}/" in got.stdout and got.returncode == 0, got.stdout + got.stderr)
        pod = self.web[0]
        got = self.run("run", "--local", "--pod", pod.title, "--", "readlink", "/proc/self/ns/net")
        self.verdict("manifests: --local, and it is the sandbox's namespace", got.stdout.strip() == pod.inode(), got.stdout + got.stderr)
        got = self.run("run", "--pod", self.web[2].title, "--", "true")
        self.verdict("manifests: a pod of another node is refused, and the node named", got.returncode == 69 and "node2" in got.stderr, got.stderr)
        got = self.run("run", "-l", "app=web", "-n", "default", "--", "ss", "-tnl")
        lines = [line for line in got.stdout.splitlines() if ":8080" in line]
        self.verdict("manifests: -l", got.returncode == 0 and len(lines) == 2, got.stdout + got.stderr)
        got = self.run("ns", "--pod", pod.title)
        self.verdict("manifests: ns", f"{pod.ip}/" in got.stdout and ":8080" in got.stdout, got.stderr or f"{len(got.stdout)} B")
        got = self.run("run", "--pod", pod.title, "--", "ping", "-c", "1", self.web[1].ip)
        self.verdict("manifests: ping", got.returncode == 0, got.stdout + got.stderr)
        words = ["capture", "--pod", pod.title, "-w", "/tmp/packets", "-t", "2s", "tcp", "port", "8080"]
        got = during(self.stage, self.web[1], pod, lambda: self.run(*words))
        self.verdict("manifests: capture, with a filter", got.returncode == 0 and " 0 packets" not in f" {got.stderr}", got.stderr)
        got = during(self.stage, self.web[1], pod, lambda: self.dump(self.tracers["node1"]))
        size = self.execute(self.tracers["node1"], "stat", "-c", "%s", "/tmp/dump").stdout
        self.verdict("manifests: tcpdump -w, which becomes another user's, until the timer", got.returncode == 0 and int(size or 0) > 1000,
                     f"{size} B {got.stderr}")

    def restarted(self):
        """The runtime of a node is started again, and the pod of the DaemonSet there goes on as it is."""
        name = self.tracers["node1"]
        words = ["run", "--pod", self.web[0].title, "--", "echo", "entered"]
        made = lambda: os.stat(self.bed.socket("node1")).st_ctime_ns  # noqa: E731
        before = made()
        self.bed.run("restart", "node1.containerd")
        # Not even the exec goes through until the kubelet has found the runtime again.
        wait_until(lambda: self.execute(name, "true").returncode == 0, 60)
        wait_until(lambda: self.run(*words).returncode == 0, 20)
        got = self.run(*words)
        starts = [status["restartCount"] for status in self.object("pod", name)["status"]["containerStatuses"]]
        self.verdict("manifests: a runtime that is started again is found by the pod that was there before",
                     got.stdout == "entered\n" and made() > before and starts == [0], f"{starts} {got.stdout}{got.stderr}")

    def dump(self, inside):
        """Where the tracer cannot end it, tcpdump goes on, and must not hold what we read from."""
        command = f"tracer run --pod {self.web[0].title} -t 2s -- tcpdump -i eth0 -U -w /tmp/dump"
        return self.execute(inside, "sh", "-c", f"{command} >/tmp/said 2>&1; code=$?; cat /tmp/said >&2; exit $code")

    def capabilities(self):
        """Takes one capability from the pod at a time: something fails, and says what is missing."""
        context = self.template["containers"][0]["securityContext"]["capabilities"]
        for name in context["add"]:
            spec = copy.deepcopy(self.template)
            spec["containers"][0]["securityContext"]["capabilities"]["add"] = [other for other in context["add"] if other != name]
            spec["nodeName"] = "node1"
            self.stage.cluster.create(NAMESPACE, {"metadata": {"name": f"no-{name.lower().replace('_', '-')}"}, "spec": spec})
        pod = self.web[0].title
        for name in context["add"]:
            inside = f"no-{name.lower().replace('_', '-')}"
            wait_until(lambda: self.stage.cluster.runs(NAMESPACE, inside), 30)
            if name == "NET_ADMIN":
                got = self.run("run", "--pod", pod, "--", "ip", "link", "set", "lo", "mtu", "65535", inside=inside)
            elif name in ("SYS_ADMIN", "NET_RAW"):
                got = self.run("capture", "--pod", pod, "-w", "/dev/null", "-c", "1", "-t", "1s", inside=inside)
            else:
                got = self.dump(inside)
            named = f"CAP_{name}" if name in ("SYS_ADMIN", "NET_RAW", "KILL") else ""
            self.verdict(f"manifests: without {name} it fails{f' and says {named}' if named else ''}", got.returncode != 0 and named in got.stderr,
                         got.stderr)

    def enters(self):
        """What the manifests say that --enter needs besides."""
        spec = copy.deepcopy(self.template)
        spec.update(nodeName="node1", hostPID=True)
        spec["containers"][0]["securityContext"]["capabilities"]["add"] += ["SYS_PTRACE", "SYS_CHROOT"]
        spec.pop("shareProcessNamespace") # which Kubernetes does not take beside hostPID
        self.stage.cluster.create(NAMESPACE, {"metadata": {"name": "enters"}, "spec": spec})
        wait_until(lambda: self.stage.cluster.runs(NAMESPACE, "enters"), 30)
        words = ["run", "--pod", self.web[0].title, "--enter", "mount,uts,ipc,pid", "--", "sh", "-c", "hostname; cat /tmp/hello; ps"]
        got = self.run(*words, inside="enters")
        good = got.stdout.startswith(f"{self.web[0].name}\nhello\n") and "httpd" in got.stdout
        self.verdict("--enter with hostPID, SYS_PTRACE and SYS_CHROOT", good,
                     got.stdout + got.stderr)
        got = self.run(*words)
        self.verdict("--enter without them says what is missing", got.returncode == 69 and "hostPID" in got.stderr, got.stderr)

    def collector(self):
        """A collector in the cluster, whose files are seen from here."""
        folder = f"{self.stage.home}/collected"
        os.makedirs(folder)
        container = {"name": "main", "image": "localhost/tracer:1", "command": ["tracer", "receive", "--listen", "[::]:51001", "/data"],
                     "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        self.stage.create("collector", containers=[container], volumes=[{"name": "data", "hostPath": {"path": folder}}])
        return self.stage.running("collector").ip, folder

    def jobs(self):
        ip, folder = self.collector()
        out = f"{self.stage.home}/job-out"
        os.makedirs(out)
        target = self.web[0]
        known = self.bed.kubectl("create", "--dry-run=client", "-o", "json", "-f", f"{self.stage.options.manifests}/job.yaml")
        job = json.loads(known)
        spec = job["spec"]["template"]["spec"]
        spec["nodeName"] = target.node
        values = {"10.0.0.10": ip, "web-0": target.name, "shop": target.namespace, "30s": "4s"}
        container = spec["containers"][0]
        container["args"] = [values.get(word, word) for word in container["args"]] + ["-f", "/out/dump"]
        container["volumeMounts"].append({"name": "out", "mountPath": "/out"})
        runtime = next(volume for volume in spec["volumes"] if volume["name"] == "runtime")
        runtime["hostPath"]["path"] = os.path.dirname(self.bed.socket(target.node))
        spec["volumes"].append({"name": "out", "hostPath": {"path": out}})
        self.job("job.yaml", NAMESPACE, job, folder, out)
        self.bed.kubectl("create", "namespace", "snoopy-operator")
        self.bed.kubectl("create", "clusterrolebinding", "podtracer", "--clusterrole=cluster-admin", "--serviceaccount=snoopy-operator:default")
        wait_until(lambda: self.bed.kubectl("-n", "snoopy-operator", "get", "serviceaccount", "default", check=False), 10)
        self.job("snoopy-operator's own Job", "snoopy-operator", self.snoopys(self.web[1], ip, out), folder, out)

    def snoopys(self, target, ip, out):
        """As snoopy-operator makes it: privileged, with CRI-O's path for the socket, and with no word of the node."""
        mounts = {"proc": ("/host/proc", "/proc"), "crio-sock": ("/var/run/crio/crio.sock", self.bed.socket(target.node)), "out": ("/out", out)}
        words = ["run", "tcpdump", "-a", "-i eth0 -U -w -", "-t", "4s", "-d", ip, "-p", "51001", "--pod", target.name, "-n", target.namespace]
        container = {"name": "podtracer", "image": "localhost/tracer:1", "command": ["/usr/bin/podtracer"], "args": [*words, "-f", "/out/dump"],
                     "securityContext": {"privileged": True, "runAsUser": 0},
                     "volumeMounts": [{"name": name, "mountPath": where} for name, (where, _) in mounts.items()]}
        spec = {"nodeName": target.node, "restartPolicy": "Never", "containers": [container],
                "volumes": [{"name": name, "hostPath": {"path": path}} for name, (_, path) in mounts.items()]}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"snoopy-job-{target.name}", "namespace": "snoopy-operator"},
                "spec": {"backoffLimit": 0, "template": {"spec": spec}}}

    def job(self, title, namespace, job, folder, out):
        """Runs it while its pod has traffic: the collector has what a file has that was written at the same time."""
        stage, name, path = self.stage, job["metadata"]["name"], f"/apis/batch/v1/namespaces/{namespace}/jobs"
        before = set(files(folder))
        stage.cluster.try_hard("POST", path, job)
        status = lambda: stage.cluster.try_hard("GET", f"{path}/{name}")["status"]  # noqa: E731
        ended = during(stage, self.web[1], self.web[0], lambda: wait_until(lambda: status().get("succeeded") or status().get("failed"), 40))
        log = self.bed.kubectl("-n", namespace, "logs", f"job/{name}", check=False)
        self.verdict(f"{title} succeeds", ended and status().get("succeeded") == 1, log)
        new = sorted(set(files(folder)) - before)
        same = [file for file in new if subprocess.run(["cmp", "-s", file, f"{out}/dump"]).returncode == 0]
        count = len(packets(f"{out}/dump"))
        self.verdict(f"{title}: the collector has the very bytes of the file", len(new) == len(same) == 1 and count > 20,
                     f"{count} packets, {[os.path.relpath(file, folder) for file in new]}")
        if os.path.exists(f"{out}/dump"):
            os.remove(f"{out}/dump")

    def roles(self):
        """Takes one verb from the role at a time."""
        role = self.stage.api.ask("GET", ROLE)
        given = {(verb, resource) for rule in role["rules"] for verb in rule["verbs"] for resource in rule["resources"]}
        one, many = ["--pod", self.web[0].title], ["-l", "app=web"]
        for verb, breaks, keeps in (("get", one, many), ("list", many, one)):
            less = [{**rule, "verbs": [other for other in rule["verbs"] if other != verb]} for rule in role["rules"]]
            self.bed.kubectl("patch", "clusterrole", NAMESPACE, "--type=merge", "-p", json.dumps({"rules": less}))
            self.settled(verb, "no")
            got = self.run("run", *breaks, "--", "true")
            self.verdict(f"without {verb} it says what it may not", got.returncode == 69 and "forbidden" in got.stderr and verb in got.stderr,
                         got.stderr)
            got = self.run("run", *keeps, "--", "true")
            self.verdict(f"without {verb} the rest goes on", got.returncode == 0, got.stderr)
            self.bed.kubectl("patch", "clusterrole", NAMESPACE, "--type=merge", "-p", json.dumps({"rules": role["rules"]}))
            self.settled(verb, "yes")
        self.verdict("the role has no verb besides", given == {("get", "pods"), ("list", "pods")}, given)

    def settled(self, verb, answer):
        words = ["auth", "can-i", verb, "pods", "--as", f"system:serviceaccount:{NAMESPACE}:tracer", "--all-namespaces"]
        wait_until(lambda: self.bed.kubectl(*words, check=False).strip() == answer, 10)

    def asked(self):
        """What the API server says that was asked of it."""
        with open(f"{self.stage.home}/audit") as file:
            entries = [json.loads(line) for line in file if line.endswith("\n")]
        asked = {(entry["verb"], entry["objectRef"]["resource"]) for entry in entries if entry.get("objectRef")}
        self.verdict("each verb of the role is used, and nothing else is asked", asked == {("get", "pods"), ("list", "pods")},
                     f"{len(entries)} requests: {asked}")
