//! Objects as JSON, field for field as a real API server prints them.

use std::net::IpAddr;

use podtrail_event::EventId;

use crate::clock::Stamp;
use crate::json::{self, Object};
use crate::pod::{Attachment, Container, Ended, Live, Outcome, Phase};

/// The annotation that tells of a pod's interfaces.
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Fields of every container, of every pod's spec: what a real API server fills in.
const CONTAINER: &[u8] = br#""resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"volumeMounts":[{"name":"kube-api-access","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent""#;
const SPEC: &[u8] = br#""restartPolicy":"Always","dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority","volumes":[{"name":"kube-api-access","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}]"#;
const IMAGE: &str = "registry.example/main:1";

/// A UID in the form of a version 4 UUID, made from `parts`.
pub(crate) fn uid(parts: &[&[u8]]) -> String {
    let hex = EventId::derive(parts).to_string();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// A `managedFields` value of at least `bytes`, empty for 0: what makes real pods large.
pub(crate) fn managed_fields(bytes: usize) -> Vec<u8> {
    if bytes == 0 {
        return Vec::new();
    }
    let mut out = br#"[{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{".":{}"#.to_vec();
    let end = br#"}}},"subresource":"status"}]"#;
    for i in 0.. {
        if out.len() + end.len() >= bytes {
            break;
        }
        out.extend_from_slice(
            format!(r#","k:{{\"type\":\"Condition{i:04}\"}}":{{".":{{}},"f:lastProbeTime":{{}},"f:status":{{}}}}"#)
                .as_bytes(),
        );
    }
    out.extend_from_slice(end);
    out
}

/// Writes a pod.
pub(crate) fn pod(out: &mut Vec<u8>, pod: &Live, version: u64, managed_fields: &[u8]) {
    json::object(out, |o| {
        o.text("kind", "Pod");
        o.text("apiVersion", "v1");
        o.object("metadata", |m| pod_metadata(m, pod, version, managed_fields));
        o.object("spec", |s| pod_spec(s, pod));
        o.object("status", |s| pod_status(s, pod));
    });
}

fn pod_metadata(m: &mut Object<'_>, pod: &Live, version: u64, managed_fields: &[u8]) {
    m.text("name", &pod.spec.name);
    m.text("namespace", &pod.spec.namespace);
    m.text("uid", &pod.uid);
    m.quoted("resourceVersion", version);
    m.quoted("creationTimestamp", pod.created);
    if let Some((at, grace)) = pod.deletion {
        m.quoted("deletionTimestamp", at);
        m.bare("deletionGracePeriodSeconds", grace);
    }
    m.map("labels", &*pod.labels);
    if pod.attachments.is_empty() {
        m.map("annotations", &pod.spec.annotations);
    } else {
        let mut annotations = pod.spec.annotations.clone();
        annotations.insert(NETWORK_STATUS.to_owned(), network_status(&pod.ips, &pod.attachments));
        m.map("annotations", &annotations);
    }
    if let Some((kind, name)) = &pod.spec.owner {
        m.array("ownerReferences", [(kind, name)], |out, (kind, name)| {
            json::object(out, |o| {
                o.text("apiVersion", if matches!(kind.as_str(), "Job" | "CronJob") { "batch/v1" } else { "apps/v1" });
                o.text("kind", kind);
                o.text("name", name);
                let parts = ["owner", kind.as_str(), name.as_str(), &*pod.spec.namespace];
                o.text("uid", &uid(&parts.map(str::as_bytes)));
                o.bare("controller", true);
                o.bare("blockOwnerDeletion", true);
            });
        });
    }
    if !managed_fields.is_empty() {
        m.raw("managedFields", managed_fields);
    }
}

fn network_status(ips: &[IpAddr], attachments: &[Attachment]) -> String {
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>, network: &str, interface: &str, ips: &[IpAddr], default: bool| {
        json::object(out, |o| {
            o.text("name", network);
            o.text("interface", interface);
            o.array("ips", ips, |out, ip| json::text(out, &ip.to_string()));
            if default {
                o.bare("default", true);
            }
            o.object("dns", |_| {});
        });
    };
    out.push(b'[');
    write(&mut out, "cluster-network", "eth0", ips, true);
    for attachment in attachments {
        out.push(b',');
        write(&mut out, &attachment.network, &attachment.interface, &attachment.ips, false);
    }
    out.push(b']');
    String::from_utf8(out).expect("JSON made from strings is UTF-8")
}

fn pod_spec(s: &mut Object<'_>, pod: &Live) {
    s.array("containers", ["main"], |out, name| {
        json::object(out, |c| {
            c.text("name", name);
            c.text("image", IMAGE);
            c.raw_fields(CONTAINER);
        });
    });
    s.bare("terminationGracePeriodSeconds", pod.spec.grace.as_secs());
    s.text("serviceAccountName", &pod.spec.service_account);
    s.text("serviceAccount", &pod.spec.service_account);
    s.text("nodeName", &pod.spec.node);
    if pod.spec.host_network {
        s.bare("hostNetwork", true);
    }
    s.raw_fields(SPEC);
}

fn pod_status(s: &mut Object<'_>, pod: &Live) {
    let phase = match pod.phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Finished(Outcome::Succeeded) => "Succeeded",
        Phase::Finished(Outcome::Failed) => "Failed",
    };
    let sandbox = !matches!(pod.phase, Phase::Finished(_));
    let reason = match pod.phase {
        Phase::Pending | Phase::Running => None,
        Phase::Finished(Outcome::Succeeded) => Some("PodCompleted"),
        Phase::Finished(Outcome::Failed) => Some("PodFailed"),
    };
    let conditions = [
        ("PodReadyToStartContainers", pod.sandboxed, sandbox, None),
        ("Initialized", pod.started, true, None),
        ("Ready", pod.readied, sandbox, reason),
        ("ContainersReady", pod.readied, sandbox, reason),
        ("PodScheduled", Some(pod.created), true, None),
    ];
    s.text("phase", phase);
    let known = conditions.into_iter().filter_map(|(kind, at, is, reason)| at.map(|at| (kind, at, is, reason)));
    s.array("conditions", known, |out, (kind, at, is, reason)| {
        json::object(out, |c| {
            c.text("type", kind);
            c.text("status", if is { "True" } else { "False" });
            c.bare("lastProbeTime", "null");
            c.quoted("lastTransitionTime", at);
            if let Some(reason) = reason {
                c.text("reason", reason);
            }
        });
    });
    if let Some(host) = pod.host_ips.first() {
        s.quoted("hostIP", host);
        addresses(s, "hostIPs", &pod.host_ips);
    }
    if let Some(ip) = pod.ips.first() {
        s.quoted("podIP", ip);
        addresses(s, "podIPs", &pod.ips);
    }
    if let Some(started) = pod.started {
        s.quoted("startTime", started);
        s.array("containerStatuses", [pod], |out, pod| json::object(out, |c| container_status(c, pod)));
    }
    s.text("qosClass", "Burstable");
}

fn addresses(s: &mut Object<'_>, key: &str, ips: &[IpAddr]) {
    s.array(key, ips, |out, ip| json::object(out, |o| o.quoted("ip", ip)));
}

fn container_status(c: &mut Object<'_>, pod: &Live) {
    let running = matches!(pod.container, Container::Running(_));
    c.text("name", "main");
    c.object("state", |state| match &pod.container {
        Container::Waiting => state.object("waiting", |w| w.text("reason", "ContainerCreating")),
        Container::Running(at) => state.object("running", |r| r.quoted("startedAt", at)),
        Container::Ended(ended) => state.object("terminated", |t| terminated(t, ended)),
    });
    c.object("lastState", |state| {
        if let Some(ended) = &pod.last {
            state.object("terminated", |t| terminated(t, ended));
        }
    });
    c.bare("ready", running);
    c.bare("restartCount", pod.restarts);
    c.text("image", IMAGE);
    c.text("imageID", "registry.example/main@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
    c.text("containerID", &pod.container_id);
    c.bare("started", running);
}

fn terminated(t: &mut Object<'_>, ended: &Ended) {
    t.bare("exitCode", ended.code);
    t.text("reason", if ended.code == 0 { "Completed" } else { "Error" });
    t.quoted("startedAt", ended.started);
    t.quoted("finishedAt", ended.finished);
}

/// Writes a node with these (type, address) pairs.
pub(crate) fn node(
    out: &mut Vec<u8>,
    (name, uid, created): (&str, &str, Stamp),
    addresses: &[(String, String)],
    version: u64,
) {
    json::object(out, |o| {
        o.text("kind", "Node");
        o.text("apiVersion", "v1");
        o.object("metadata", |m| {
            cluster_scoped_metadata(m, (name, uid, created), version);
            m.object("labels", |l| l.text("kubernetes.io/hostname", name));
        });
        o.object("spec", |_| {});
        o.object("status", |s| {
            s.array("addresses", addresses, |out, (kind, address)| {
                json::object(out, |a| {
                    a.text("type", kind);
                    a.text("address", address);
                });
            });
            s.raw_fields(
                br#""nodeInfo":{"kubeletVersion":"v1.34.4","operatingSystem":"linux","architecture":"amd64"}"#,
            );
        });
    });
}

/// Writes a namespace.
pub(crate) fn namespace(out: &mut Vec<u8>, (name, uid, created): (&str, &str, Stamp), version: u64) {
    json::object(out, |o| {
        o.text("kind", "Namespace");
        o.text("apiVersion", "v1");
        o.object("metadata", |m| {
            cluster_scoped_metadata(m, (name, uid, created), version);
            m.object("labels", |l| l.text("kubernetes.io/metadata.name", name));
        });
        o.object("spec", |s| s.array("finalizers", ["kubernetes"], json::text));
        o.object("status", |s| s.text("phase", "Active"));
    });
}

fn cluster_scoped_metadata(m: &mut Object<'_>, (name, uid, created): (&str, &str, Stamp), version: u64) {
    m.text("name", name);
    m.text("uid", uid);
    m.quoted("resourceVersion", version);
    m.quoted("creationTimestamp", created);
}
