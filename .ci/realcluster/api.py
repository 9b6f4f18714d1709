"""The API server, spoken to without the project: requests, and a record of every frame that it sends.

    api.py KUBECONFIG FILE    writes what happens to pods and nodes to FILE, a JSON object a line, until it is killed
"""

import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse


class Refused(Exception):
    """A status that is no success."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Api:
    def __init__(self, kubeconfig):
        with open(kubeconfig) as file:
            config = json.load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server, self.authority = cluster["server"], cluster["certificate-authority"]
        self.address = urllib.parse.urlsplit(self.server).netloc
        self.tls = ssl.create_default_context(cafile=self.authority)
        self.tls.load_cert_chain(user["client-certificate"], user["client-key"])

    def open(self, method, path, body=None, timeout=20):
        connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=timeout)
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        return connection.getresponse()

    def ask(self, method, path, body=None):
        response = self.open(method, path, body)
        text = response.read().decode()
        if response.status >= 300:
            raise Refused(response.status, text)
        return json.loads(text)

    def pods(self):
        return self.ask("GET", "/api/v1/pods")["items"]


def record(api, kind, write):
    """Lists and watches one kind for ever."""
    path, version = f"/api/v1/{kind}", None
    while True:
        try:
            if version is None:
                listing = api.ask("GET", path)
                version = listing["metadata"]["resourceVersion"]
                write(kind, "LISTED", {"version": version, "items": listing["items"]})
            response = api.open("GET", f"{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}", timeout=600)
            if response.status != 200:
                raise Refused(response.status, response.read().decode())
            for line in response:
                frame = json.loads(line)
                if frame["type"] == "ERROR":
                    raise Refused(frame["object"].get("code", 0), json.dumps(frame["object"]))
                version = frame["object"]["metadata"]["resourceVersion"]
                if frame["type"] != "BOOKMARK":
                    write(kind, frame["type"], frame["object"])
        except Refused as refused:
            write(kind, "REFUSED", {"status": refused.status})
            version = None if refused.status == 410 else version
        except (OSError, ValueError, http.client.HTTPException):
            pass
        time.sleep(0.1)


def main():
    api, lock = Api(sys.argv[1]), threading.Lock()
    with open(sys.argv[2], "w") as file:
        def write(kind, what, obj):
            with lock:
                file.write(json.dumps({"at": time.time(), "kind": kind, "type": what, "object": obj}) + "\n")
                file.flush()
        threading.Thread(target=record, args=(api, "nodes", write), daemon=True).start()
        record(api, "pods", write)


if __name__ == "__main__":
    main()
