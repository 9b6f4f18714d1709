"""The conformance cases of podtracer's contract, one by one, through the API and with the container runtime alone."""

import os
import signal
import socket
import stat
import subprocess
import time

from stage import files
from bed import wait_until


def judge(stage):
    pod = stage.running("web-1")
    for local in (False, True):
        Cases(stage, pod, local).all()


class Cases:
    def __init__(self, stage, pod, local):
        self.stage, self.pod, self.local = stage, pod, local
        self.target = ["--pod", pod.name, "-n", pod.namespace]
        self.folder = f"{stage.home}/conformance-{'local' if local else 'api'}"
        os.makedirs(self.folder)

    def say(self, case, text, good, figure):
        self.stage.verdict(f"T-C{case} {'--local' if self.local else 'API'}: {text}", good, figure)

    def run(self, *words, **options):
        return self.stage.tracer("run", *words, local=self.local, **options)

    def all(self):
        self.output()
        self.usage()
        self.namespaces()
        self.snoopy()
        self.life()

    def output(self):
        target, folder = self.target, self.folder
        got, true = self.run("ip", "-a", "addr show", *target, "-s"), self.pod.inside("ip", "addr", "show")
        good = got.returncode == 0 and got.stdout == true.stdout and self.pod.ip in got.stdout
        self.say(1, "output is that of the tool in the pod's namespace", good, f"exit {got.returncode}, {len(got.stdout)} B {got.stderr}")
        got = self.run("touch", "-a", f"{folder}/touched", *target)
        self.say(2, "without -s, -f and -d it runs and is silent", got.returncode == 0 and not got.stdout and os.path.exists(f"{folder}/touched"),
                 f"exit {got.returncode} {got.stdout}{got.stderr}")
        out = f"{folder}/out"
        with open(out, "w") as file:
            file.write("stale " * 5000)
        got = self.run("ip", "-a", "addr show", *target, "-f", out)
        with open(out) as file:
            written = file.read()
        mode = stat.S_IMODE(os.stat(out).st_mode)
        good = got.returncode == 0 and written == true.stdout and not got.stdout and mode == 0o600
        self.say(3, "-f holds exactly the tool's output", good, f"exit {got.returncode}, {len(written)} B, mode {mode:o} {got.stderr}")
        os.symlink(out, f"{folder}/link")
        got = self.run("ip", "-a", "addr", *target, "-f", f"{folder}/link")
        self.say(3, "-f follows no symbolic link", got.returncode == 69 and "symbolic link" in got.stderr, got.stderr)
        got = self.run("sh", "-a", "-c 'echo heard; echo lost >&2'", *target, "-s")
        self.say(4, "what the tool complains about is on standard error", (got.stdout, got.stderr) == ("heard\n", "lost\n"), (got.stdout, got.stderr))

    def usage(self):
        pod, name = self.pod, self.pod.name
        for words, named in ((["ip", "-n", pod.namespace], "--pod"), (["ip", "--pod", name], "namespace")):
            got = self.run(*words)
            self.say(5, f"without {named} it is a usage error", got.returncode == 64 and named in got.stderr and not got.stdout, got.stderr)
        got = self.run(*self.target)
        self.say(6, "without a tool it is a usage error", got.returncode == 64 and "no tool" in got.stderr, got.stderr)

    def namespaces(self):
        stage, pod = self.stage, self.pod
        shown = pod.object["status"]["containerStatuses"][0]["containerID"]
        true = os.readlink(f"/proc/{pod.container_pid(stage, 'main')}/ns/pid")
        got = self.run("--pod", pod.title, "--enter", "mount,pid", "--", "readlink", "/proc/self/ns/pid_for_children")
        self.say(7, "the container is that of its containerd:// id", shown.startswith("containerd://") and got.stdout.strip() == true,
                 f"{shown[:24]}… {got.stdout.strip()} {true} {got.stderr}")
        # Where only the node's /proc is mounted, the runtime's word for the sandbox's process is all there is.
        host = f"{self.folder}/host"
        os.makedirs(f"{host}/proc")
        mount = ["unshare", "--mount", "sh", "-ec", f"mount --rbind /proc {host}/proc; exec \"$@\"", "sh"]
        got = self.run("--host-root", host, "--pod", pod.title, "--", "readlink", "/proc/self/ns/net", before=mount)
        self.say(8, "the runtime's process is found below /host/proc", got.stdout.strip() == pod.inode(),
                 f"{got.stdout.strip()} {pod.inode()} {got.stderr}")

    def snoopy(self):
        with socket.socket() as some:
            some.bind(("127.0.0.1", 0))
            port = some.getsockname()[1]
        stage, received = self.stage, f"{self.folder}/received"
        os.makedirs(received)
        receiver = stage.processes.start([stage.binary, "receive", "--listen", f"127.0.0.1:{port}", received], f"{self.folder}/receiver.log")
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10)
        sent = f"{self.folder}/sent"
        with open(sent, "wb") as file:
            file.write(os.urandom(100 << 10))
        got = self.run("cat", "-a", sent, *self.target, "-d", "127.0.0.1", "-p", str(port))
        arrived = files(received)
        same = [path for path in arrived if subprocess.run(["cmp", "-s", path, sent]).returncode == 0]
        good = got.returncode == 0 and [os.path.basename(path) for path in same] == [self.pod.name]
        self.say(9, "a collector has the tool's bytes, under the pod's name", good,
                 f"exit {got.returncode}, {arrived} {got.stderr}")
        receiver.terminate()
        receiver.wait(10)

    def life(self):
        marker = f"8{os.getpid():07}.{int(self.local)}"
        began = time.time()
        process = self.stage.start("run", "sleep", "-a", marker, *self.target, "-t", "1s", local=self.local)
        alive = wait_until(lambda: subprocess.run(["pgrep", "-fx", f"sleep {marker}"], capture_output=True).returncode == 0, 2)
        code, took = process.wait(10), time.time() - began
        left = subprocess.run(["pgrep", "-fx", f"sleep {marker}"], capture_output=True, text=True).stdout.split()
        self.say(10, "-t ends an endless tool", alive and code == 0 and 0.9 < took < 2 and not left,
                 f"exit {code} after {took:.2f} s, {len(left)} left")
        codes = [self.run("sh", "-a", f"-c 'exit {code}'", *self.target).returncode for code in (3, 0, 255)]
        self.say(11, "the exit code is the tool's", codes == [3, 0, 255], codes)
        home = os.readlink("/proc/self/ns/net")
        process = self.stage.start("run", "sleep", "-a", "5", *self.target, local=self.local)
        tracer = process.pid
        wait_until(lambda: self.children(tracer), 3)
        [child] = self.children(tracer) or [tracer]
        threads = {os.readlink(f"/proc/{tracer}/task/{thread}/ns/net") for thread in os.listdir(f"/proc/{tracer}/task")}
        inside = os.readlink(f"/proc/{child}/ns/net")
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
        good = threads == {home} and os.readlink("/proc/self/ns/net") == home and inside == self.pod.inode() and code == 128 + signal.SIGTERM
        self.say(12, "the caller and the tracer stay at home", good, f"{threads} {home}, the tool in {inside}; exit {code} by SIGTERM")

    @staticmethod
    def children(pid):
        found = set()
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found |= {int(child) for child in file.read().split()}
        return sorted(found)
