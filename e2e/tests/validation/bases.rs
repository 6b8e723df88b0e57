//! Valid partial pods that together have every field that a profile may set.

use serde_json::{Value, json};

/// Returns all of them.
pub(super) fn all() -> Vec<Value> {
    let mut bases =
        vec![sidecar(), init_container(), ordinary_container(), pod_settings(), windows(), metadata()];
    bases.extend(
        sources()
            .into_iter()
            .map(|(source, value)| json!({ "spec": { "volumes": [{ "name": "v", source: value }] } })),
    );
    bases
}

fn sidecar() -> Value {
    json!({ "spec": {
        "volumes": [{ "name": "v", "emptyDir": {} }, { "name": "d", "persistentVolumeClaim": { "claimName": "c" } }],
        "resourceClaims": [{ "name": "dev", "resourceClaimName": "claim" }],
        "initContainers": [{
            "name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "imagePullPolicy": "IfNotPresent",
            "command": ["proxy"], "args": ["run"], "workingDir": "/", "stdin": true, "stdinOnce": true, "tty": true,
            "terminationMessagePath": "/dev/log", "terminationMessagePolicy": "File",
            "ports": [{ "name": "http", "containerPort": 8080, "hostPort": 8081, "hostIP": "10.0.0.1", "protocol": "TCP" }],
            "env": variables(),
            "envFrom": [
                { "prefix": "P_", "configMapRef": { "name": "c", "optional": true } },
                { "secretRef": { "name": "s", "optional": true } },
            ],
            "volumeMounts": [
                { "name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "IfPossible", "subPath": "a", "mountPropagation": "None" },
                { "name": "v", "mountPath": "/w", "subPathExpr": "$(A)" },
            ],
            "volumeDevices": [{ "name": "d", "devicePath": "/dev/d" }],
            "resources": {
                "requests": { "cpu": "1", "memory": "1Mi", "ephemeral-storage": "1Mi", "hugepages-2Mi": "4Mi" },
                "limits": { "cpu": "2", "hugepages-2Mi": "4Mi", "example.com/gpu": "1" },
                "claims": [{ "name": "dev", "request": "one" }],
            },
            "resizePolicy": [{ "resourceName": "cpu", "restartPolicy": "NotRequired" }],
            "livenessProbe": liveness_probe(),
            "readinessProbe": { "grpc": { "port": 8080, "service": "s" }, "successThreshold": 2 },
            "startupProbe": { "tcpSocket": { "host": "a", "port": 8080 } },
            "lifecycle": {
                "postStart": { "exec": { "command": ["x"] } },
                "preStop": { "sleep": { "seconds": 1 } },
            },
            "securityContext": security_context(),
        }],
    } })
}

fn variables() -> Value {
    json!([
        { "name": "A", "value": "x" },
        { "name": "B", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels['app']" } } },
        { "name": "C", "valueFrom": { "resourceFieldRef": { "containerName": "app", "resource": "limits.cpu", "divisor": "1m" } } },
        { "name": "D", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } },
        { "name": "E", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k", "optional": true } } },
        { "name": "F", "valueFrom": { "fileKeyRef": { "volumeName": "v", "path": "f", "key": "K", "optional": true } } },
    ])
}

fn liveness_probe() -> Value {
    json!({
        "httpGet": { "path": "/", "port": "http", "host": "a", "scheme": "HTTP", "httpHeaders": [{ "name": "X-A", "value": "b" }] },
        "initialDelaySeconds": 1, "timeoutSeconds": 1, "periodSeconds": 1, "successThreshold": 1, "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    })
}

fn security_context() -> Value {
    json!({
        "runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true, "readOnlyRootFilesystem": true,
        "privileged": false, "allowPrivilegeEscalation": false, "procMount": "Default",
        "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
        "seLinuxOptions": { "user": "u", "role": "r", "type": "t", "level": "l" },
        "seccompProfile": { "type": "Localhost", "localhostProfile": "a/b" },
        "appArmorProfile": { "type": "Localhost", "localhostProfile": "a" },
    })
}

fn init_container() -> Value {
    json!({ "spec": { "initContainers": [{ "name": "setup", "image": "setup:1" }] } })
}

fn ordinary_container() -> Value {
    json!({ "spec": { "containers": [{
        "name": "helper", "image": "helper:1", "restartPolicy": "Never",
        "restartPolicyRules": [{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }],
        "ports": [{ "containerPort": 8080 }, { "containerPort": 8081, "hostPort": 8081 }],
        "lifecycle": {
            "postStart": { "httpGet": { "port": 8080 } },
            "preStop": { "tcpSocket": { "port": 8080 } },
        },
        "securityContext": { "privileged": true },
        "volumeMounts": [{ "name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional" }],
    }], "volumes": [{ "name": "v", "emptyDir": {} }] } })
}

fn pod_settings() -> Value {
    json!({ "spec": {
        "imagePullSecrets": [{ "name": "s" }],
        "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["a.b"] }],
        "dnsConfig": { "nameservers": ["10.0.0.1"], "searches": ["a.b"], "options": [{ "name": "ndots", "value": "2" }] },
        "tolerations": [
            { "key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5 },
            { "operator": "Exists" },
        ],
        "readinessGates": [{ "conditionType": "example.com/ready" }],
        "resourceClaims": [
            { "name": "a", "resourceClaimName": "claim" },
            { "name": "b", "resourceClaimTemplateName": "template" },
        ],
        "shareProcessNamespace": true,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true, "fsGroup": 1000, "fsGroupChangePolicy": "Always",
            "supplementalGroups": [1000], "supplementalGroupsPolicy": "Merge", "seLinuxChangePolicy": "Recursive",
            "seLinuxOptions": { "user": "u", "role": "r", "type": "t", "level": "l" },
            "seccompProfile": { "type": "RuntimeDefault" },
            "appArmorProfile": { "type": "RuntimeDefault" },
            "sysctls": [{ "name": "net.ipv4.tcp_syncookies", "value": "1" }],
        },
    } })
}

fn windows() -> Value {
    let options = json!({
        "gmsaCredentialSpecName": "a", "gmsaCredentialSpec": "b", "runAsUserName": "DOMAIN\\user", "hostProcess": false,
    });
    json!({ "spec": {
        "securityContext": { "windowsOptions": options },
        "initContainers": [{ "name": "proxy", "image": "proxy:1", "securityContext": { "windowsOptions": options } }],
    } })
}

fn metadata() -> Value {
    json!({
        "metadata": {
            "labels": { "team": "shop" },
            "annotations": {
                "example.com/a": "b",
                "controller.kubernetes.io/pod-deletion-cost": "1",
                "container.apparmor.security.beta.kubernetes.io/app": "runtime/default",
                "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
            },
        },
        "spec": {},
    })
}

fn sources() -> Vec<(&'static str, Value)> {
    let mut sources = files();
    sources.extend(claims());
    sources.extend(disks());
    sources
}

fn files() -> Vec<(&'static str, Value)> {
    let items = json!([{ "key": "k", "path": "p", "mode": 256 }]);
    let field = json!([{ "path": "p", "mode": 256, "fieldRef": { "fieldPath": "metadata.name" } }]);
    let resource = json!([{ "path": "q", "resourceFieldRef": { "containerName": "app", "resource": "requests.memory", "divisor": "1Mi" } }]);
    vec![
        ("emptyDir", json!({ "medium": "Memory", "sizeLimit": "1Mi" })),
        ("hostPath", json!({ "path": "/a", "type": "Directory" })),
        ("image", json!({ "reference": "a:1", "pullPolicy": "Never" })),
        ("secret", json!({ "secretName": "s", "defaultMode": 256, "optional": true, "items": items })),
        ("configMap", json!({ "name": "c", "defaultMode": 256, "optional": true, "items": items })),
        ("downwardAPI", json!({ "defaultMode": 256, "items": field })),
        ("downwardAPI", json!({ "items": resource })),
        (
            "projected",
            json!({ "defaultMode": 256, "sources": [
            { "secret": { "name": "s", "optional": true, "items": items } },
            { "configMap": { "name": "c", "optional": true, "items": [{ "key": "k", "path": "r" }] } },
            { "downwardAPI": { "items": [{ "path": "d", "fieldRef": { "fieldPath": "metadata.uid" } }] } },
            { "serviceAccountToken": { "path": "t", "audience": "a", "expirationSeconds": 600 } },
        ] }),
        ),
    ]
}

fn claims() -> Vec<(&'static str, Value)> {
    let source = json!({ "apiGroup": "example.com", "kind": "Backup", "name": "b" });
    vec![
        ("persistentVolumeClaim", json!({ "claimName": "c", "readOnly": true })),
        (
            "ephemeral",
            json!({ "volumeClaimTemplate": {
            "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeAttributesClassName": "gold",
                "volumeMode": "Filesystem", "volumeName": "",
                "resources": { "requests": { "storage": "1Gi" }, "limits": { "storage": "2Gi" } },
                "selector": { "matchLabels": { "a": "b" }, "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] },
                "dataSource": source, "dataSourceRef": source,
            },
        } }),
        ),
        (
            "csi",
            json!({
                "driver": "example.com", "readOnly": true, "fsType": "ext4", "volumeAttributes": { "a": "b" },
                "nodePublishSecretRef": { "name": "s" },
            }),
        ),
    ]
}

fn disks() -> Vec<(&'static str, Value)> {
    let secret = json!({ "name": "s" });
    vec![
        (
            "awsElasticBlockStore",
            json!({ "volumeID": "v", "fsType": "ext4", "partition": 1, "readOnly": true }),
        ),
        (
            "azureDisk",
            json!({ "diskName": "d", "diskURI": "https://a", "kind": "Shared", "cachingMode": "None", "fsType": "ext4", "readOnly": true }),
        ),
        ("azureFile", json!({ "secretName": "s", "shareName": "s", "readOnly": true })),
        (
            "cephfs",
            json!({ "monitors": ["m"], "path": "/", "user": "u", "secretFile": "/f", "secretRef": secret, "readOnly": true }),
        ),
        ("cinder", json!({ "volumeID": "v", "fsType": "ext4", "readOnly": true, "secretRef": secret })),
        ("fc", json!({ "targetWWNs": ["w"], "lun": 1, "fsType": "ext4", "readOnly": true })),
        (
            "flexVolume",
            json!({ "driver": "d", "fsType": "ext4", "secretRef": secret, "readOnly": true, "options": { "a": "b" } }),
        ),
        ("flocker", json!({ "datasetName": "d" })),
        ("gcePersistentDisk", json!({ "pdName": "d", "fsType": "ext4", "partition": 1, "readOnly": true })),
        ("gitRepo", json!({ "repository": "r", "revision": "v", "directory": "d" })),
        ("glusterfs", json!({ "endpoints": "e", "path": "p", "readOnly": true })),
        (
            "iscsi",
            json!({
                "targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage", "lun": 1, "iscsiInterface": "i", "fsType": "ext4",
                "readOnly": true, "portals": ["p"], "chapAuthDiscovery": true, "chapAuthSession": true, "secretRef": secret,
                "initiatorName": "iqn.2001-04.com.example:node",
            }),
        ),
        ("nfs", json!({ "server": "s", "path": "/p", "readOnly": true })),
        ("photonPersistentDisk", json!({ "pdID": "d", "fsType": "ext4" })),
        ("portworxVolume", json!({ "volumeID": "v", "fsType": "ext4", "readOnly": true })),
        (
            "quobyte",
            json!({ "registry": "a:1", "volume": "v", "readOnly": true, "user": "u", "group": "g", "tenant": "t" }),
        ),
        (
            "rbd",
            json!({ "monitors": ["m"], "image": "i", "fsType": "ext4", "pool": "p", "user": "u", "keyring": "k", "secretRef": secret, "readOnly": true }),
        ),
        (
            "scaleIO",
            json!({
                "gateway": "g", "system": "s", "secretRef": secret, "sslEnabled": true, "protectionDomain": "d", "storagePool": "p",
                "storageMode": "ThinProvisioned", "volumeName": "v", "fsType": "xfs", "readOnly": true,
            }),
        ),
        (
            "storageos",
            json!({ "volumeName": "v", "volumeNamespace": "n", "fsType": "ext4", "readOnly": true, "secretRef": secret }),
        ),
        (
            "vsphereVolume",
            json!({ "volumePath": "p", "fsType": "ext4", "storagePolicyName": "n", "storagePolicyID": "i" }),
        ),
    ]
}
