"""What `tracer ns` shows of a pod, held against what iproute2 shows in its namespace."""

import ipaddress
import json

from stage import read_json


def judge(stage):
    pod = stage.running("web-1")
    stage.fetch(stage.running("web-2"), pod)
    for local in (False, True):
        got = stage.tracer("ns", "--pod", pod.title, "-o", "json", local=local)
        ours = read_json(got.stdout) or {}
        how = "--local" if local else "API"
        for part, (shown, true) in PARTS.items():
            got_all, true_all = shown(ours.get(part, [])), true(lambda *words: json.loads(pod.inside("ip", "-j", *words).stdout or "[]"))
            stage.verdict(f"ns {how}: {part} are those of ip -j", got_all == true_all and true_all,
                          f"{len(got_all)}; {got_all ^ true_all} {got.stderr}")
        listening = {line.split()[3].rsplit(":", 1)[1] for line in pod.inside("ss", "-Htln").stdout.splitlines()}
        shown = {socket["local"].rsplit(":", 1)[1] for socket in ours.get("sockets", []) if socket["state"] == "listening"}
        stage.verdict(f"ns {how}: listening sockets are those of ss", shown == listening == {"8080"}, (shown, listening))
        stage.verdict(f"ns {how}: it says which namespace and pod", f"net:[{ours.get('netns')}]" == pod.inode() and ours["pod"]["uid"] == pod.uid,
                      ours.get("pod"))
    got = stage.tracer("ns", "--pod", pod.title)
    stage.verdict("ns shows tables to people", f"{pod.ip}/" in got.stdout and "eth0" in got.stdout and got.returncode == 0, got.stdout)


def network(text, prefix=None):
    return str(ipaddress.ip_network(text if prefix is None else f"{text}/{prefix}", strict=False))


def interfaces(found):
    return {(one["name"], one["index"], one["address"], one["mtu"], one["state"]) for one in found}


def links(ip):
    return {(one["ifname"], one["ifindex"], one["address"], one["mtu"], one["operstate"].lower()) for one in ip("link")}


def addresses(found):
    return {(one["interface"], one["address"], one["prefix"], one["scope"], one["broadcast"]) for one in found}


def held(ip):
    return {(link["ifname"], one["local"], one["prefixlen"], one["scope"], one.get("broadcast")) for link in ip("addr") for one in link["addr_info"]}


def routes(found):
    return {(one["kind"], network(one["destination"], one["prefix"]), hop["gateway"], hop["interface"], one["table"], one["metric"])
            for one in found for hop in one["hops"]}


def fib(ip):
    tables, found = {"main": 254, "local": 255}, set()
    for family, default in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        for one in ip(family, "route", "show", "table", "all"):
            to = network(default if one["dst"] == "default" else one["dst"])
            found.add((one.get("type", "unicast"), to, one.get("gateway"), one["dev"], tables[one.get("table", "main")], one.get("metric", 0)))
    return found


def neighbours(found):
    return {(one["interface"], one["address"], one["hardwareAddress"]) for one in found}


def arp(ip):
    return {(one["dev"], one["dst"], one.get("lladdr")) for one in ip("neigh", "show", "nud", "all")}


PARTS = {"interfaces": (interfaces, links), "addresses": (addresses, held), "routes": (routes, fib), "neighbours": (neighbours, arp)}
