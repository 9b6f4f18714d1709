"""What was so: what the API server said of each pod, and which addresses the containers really had."""

import bisect
import calendar
import collections
import json
import time


def seconds(stamp):
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + stamp[19:-1] or 0)


class Pod:
    """All states of one object, as the API server gave them."""

    def __init__(self, uid):
        self.uid, self.states, self.gone, self.removed = uid, [], None, None

    @property
    def last(self):
        return self.states[-1][1]

    @property
    def name(self):
        return f"{self.last['metadata']['namespace']}/{self.last['metadata']['name']}"

    @property
    def node(self):
        return self.last["spec"].get("nodeName", "")

    @property
    def shared(self):
        return bool(self.last["spec"].get("hostNetwork"))

    def ips(self):
        """Every address that it ever showed."""
        return {entry["ip"] for _, state in self.states for entry in state["status"].get("podIPs", ())}

    def shown(self):
        """When it first showed an address and had begun to run."""
        return next((at for at, state in self.states if state["status"].get("podIPs") and state["status"].get("phase") != "Pending"), None)

    def held_from(self):
        """When it first showed an address at all."""
        return next((at for at, state in self.states if state["status"].get("podIPs")), None)

    def values(self, *path):
        """What one field was, in the course of time."""
        found = []
        for _, state in self.states:
            for key in path:
                state = (state or {}).get(key)
            if state not in found:
                found.append(state)
        return found


class Said:
    """What the API server said, from the record."""

    def __init__(self, path):
        self.pods, self.nodes, self.expired, self.pressures = {}, {}, 0, set()
        with open(path) as file:
            for line in file:
                if line.endswith("\n"):
                    self.take(json.loads(line))

    def take(self, frame):
        at, kind, what, obj = frame["at"], frame["kind"], frame["type"], frame["object"]
        if what == "REFUSED":
            self.expired += obj["status"] == 410
            return
        objects = obj["items"] if what == "LISTED" else [obj]
        if kind == "nodes":
            for node in objects:
                name = node["metadata"]["name"]
                self.nodes.setdefault(name, node)
                conditions = node["status"].get("conditions", ())
                self.pressures |= {(name, c["type"]) for c in conditions if c["type"].endswith("Pressure") and c["status"] == "True"}
            return
        for state in objects:
            uid = state["metadata"]["uid"]
            self.pods.setdefault(uid, Pod(uid)).states.append((at, state))
        if what == "DELETED":
            pod = self.pods[obj["metadata"]["uid"]]
            pod.gone, pod.removed = at, obj
        if what == "LISTED":
            here = {state["metadata"]["uid"] for state in objects}
            for pod in self.pods.values():
                if pod.uid not in here and pod.gone is None:
                    pod.gone = at

    def node_addresses(self, name):
        found = {}
        for entry in self.nodes[name]["status"]["addresses"] if name in self.nodes else ():
            found.setdefault(entry["type"], []).append(entry["address"])
        return found


class Hold(collections.namedtuple("Hold", "uid ip node before since until after")):
    """An address in a container's namespace: absent at `before`, there from `since` to `until`, absent at `after`."""


class Held:
    def __init__(self, path):
        self.by_ip, self.on_hosts, self.unknown = collections.defaultdict(list), [], 0
        with open(path) as file:
            for line in file:
                h = json.loads(line)
                hold = Hold(h["uid"], h.get("ip"), h.get("node"), h["before"], h["from"], h["to"], h["after"])
                if hold.node:
                    self.on_hosts.append(hold)
                elif hold.uid is None:
                    self.unknown += 1
                else:
                    self.by_ip[hold.ip].append(hold)
        for ip, holds in self.by_ip.items():
            self.by_ip[ip] = joined(sorted(holds, key=lambda hold: hold.since))

    def all(self):
        return [hold for holds in self.by_ip.values() for hold in holds]

    def holder(self, ip, at):
        """The UID that had it then, None when nobody had, or "changing" when a look before and one after disagree."""
        holds = self.by_ip[ip]
        i = bisect.bisect([hold.since for hold in holds], at)
        if i and (at <= holds[i - 1].until):
            return holds[i - 1].uid
        if i and (holds[i - 1].after is None or at < holds[i - 1].after):
            return "changing"
        if i < len(holds) and (holds[i].before is None or at > holds[i].before):
            return "changing"
        return None

    def calm(self, ip, at, edge):
        """Whether nothing changed about the address within `edge` of then."""
        def near(t):
            return t is not None and abs(t - at) < edge
        return not any(near(hold.since) or near(hold.until) for hold in self.by_ip[ip])


def joined(holds):
    """A pod that gets its address back at once, in a new namespace, has had it all the time: nobody but its node can tell."""
    found = []
    for hold in holds:
        last = found[-1] if found else None
        if last and last.uid == hold.uid and hold.since - last.until < 2:
            found[-1] = last._replace(until=hold.until, after=hold.after)
        else:
            found.append(hold)
    return found
