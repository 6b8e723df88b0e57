//! Every single change of a Mandatory profile's elements in a pod with the genuine status annotation: it is repaired or
//! rejected when the pod is created, and rejected when the finished pod is verified.

use serde_json::{Map as Fields, Value, json};

use super::*;

/// Returns a profile that sets as many fields as possible.
fn rich() -> Value {
    json!({
        "enforcement": "Mandatory",
        "match": { "namespaceSelector": { "matchLabels": { "guarded": "yes" } } },
        "template": {
            "metadata": { "labels": { "guard": "on" }, "annotations": { "guard.example/mode": "strict" } },
            "spec": {
                "initContainers": [{
                    "name": "guard", "image": "registry.example/guard:1", "restartPolicy": "Always",
                    "command": ["/guard"], "args": ["--strict", "--host=$(HOST)"], "workingDir": "/work",
                    "env": [
                        { "name": "HOST", "value": "audit.example" },
                        { "name": "URL", "value": "https://$(HOST)/" },
                        { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                        { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "guard", "key": "key" } } },
                        { "name": "CPUS", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                    ],
                    "envFrom": [{ "configMapRef": { "name": "guard", "optional": true } }],
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "resources": { "requests": { "cpu": "10m" }, "limits": { "cpu": "3", "memory": "64Mi" } },
                    "livenessProbe": { "httpGet": { "path": "/live", "port": 8080 } },
                    "readinessProbe": { "grpc": { "port": 9090 }, "periodSeconds": 5 },
                    "startupProbe": { "exec": { "command": ["/guard", "check"] }, "failureThreshold": 30 },
                    "lifecycle": { "preStop": { "httpGet": { "port": 8080, "path": "/drain" } } },
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": 0,
                        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "volumeMounts": [
                        { "name": "guard-state", "mountPath": "/state" },
                        { "name": "guard-config", "mountPath": "/config", "readOnly": true, "subPath": "a" },
                        { "name": "guard-rules", "mountPath": "/rules" },
                    ],
                }],
                "volumes": [
                    { "name": "guard-state", "emptyDir": { "sizeLimit": "1024Mi" } },
                    { "name": "guard-config", "configMap": { "name": "guard", "items": [{ "key": "a", "path": "a" }] } },
                    { "name": "guard-key", "secret": { "secretName": "guard" } },
                    { "name": "guard-token", "projected": { "sources": [
                        { "serviceAccountToken": { "path": "token", "audience": "guard" } },
                    ] } },
                ],
                "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["audit.example"] }],
                "dnsConfig": { "nameservers": ["10.0.0.2"], "searches": ["guard.example"] },
            },
        },
        "appContainers": [{
            "containers": ["*"],
            "env": [{ "name": "GUARD", "value": "127.0.0.1" }, { "name": "GUARD_URL", "value": "http://$(GUARD)/" }],
            "volumeMounts": [{ "name": "guard-state", "mountPath": "/var/log/app" }],
        }],
        "files": [{ "volume": "guard-rules", "items": { "rules.txt": "deny" } }],
    })
}

fn object(value: &mut Value) -> &mut Fields<String, Value> {
    value.as_object_mut().unwrap()
}

fn set_default(value: &mut Value, field: &str, default: Value) {
    // Empty values count as absent, and so do zeros that are not pointers.
    let is_probe = field.ends_with("Seconds") && field != "expirationSeconds" || field.ends_with("Threshold");
    let is_absent = value[field].is_null()
        || value[field] == ""
        || value[field] == json!([])
        || value[field] == json!({})
        || (is_probe && value[field] == 0);
    if is_absent {
        object(value).insert(field.to_owned(), default);
    }
}

/// Adds the API server's defaults to a container of the profile, independently of the engine's table.
fn with_defaults(container: &mut Value) {
    set_default(container, "imagePullPolicy", json!("IfNotPresent"));
    set_default(container, "terminationMessagePath", json!("/dev/termination-log"));
    set_default(container, "terminationMessagePolicy", json!("File"));
    set_default(container, "resources", json!({}));
    for variable in container["env"].as_array_mut().into_iter().flatten() {
        if let Some(from) = variable.pointer_mut("/valueFrom/fieldRef") {
            set_default(from, "apiVersion", json!("v1"));
        }
        if let Some(from) = variable.pointer_mut("/valueFrom/resourceFieldRef") {
            set_default(from, "divisor", json!("0"));
        }
    }
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        set_default(port, "protocol", json!("TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) else { continue };
        for (field, default) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            set_default(probe, field, json!(default));
        }
        if let Some(get) = probe.get_mut("httpGet").filter(|get| get.is_object()) {
            set_default(get, "path", json!("/"));
            set_default(get, "scheme", json!("HTTP"));
        }
        if let Some(grpc) = probe.get_mut("grpc").filter(|grpc| grpc.is_object()) {
            set_default(grpc, "service", json!(""));
        }
    }
    if let Some(get) = container.pointer_mut("/lifecycle/preStop/httpGet").filter(|get| get.is_object()) {
        set_default(get, "path", json!("/"));
        set_default(get, "scheme", json!("HTTP"));
    }
    if let Some(limits) = container.pointer("/resources/limits").and_then(Value::as_object).cloned() {
        let resources = &mut container["resources"];
        set_default(resources, "requests", json!({}));
        if resources["requests"].is_object() {
            for (name, limit) in limits {
                set_default(&mut resources["requests"], &name, limit);
            }
        }
    }
}

fn volume_with_defaults(volume: &mut Value) {
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            set_default(source, "defaultMode", json!(420));
        }
    }
    if let Some(token) =
        volume.pointer_mut("/projected/sources/0/serviceAccountToken").filter(|t| t.is_object())
    {
        set_default(token, "expirationSeconds", json!(3600));
    }
    for item in volume.pointer_mut("/downwardAPI/items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(from) = item.get_mut("fieldRef").filter(|from| from.is_object()) {
            set_default(from, "apiVersion", json!("v1"));
        }
    }
}

/// Returns the pod that the API server sends on a reinvocation: with defaults, and the mount of the token.
fn stored(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let token = json!({ "name": "kube-api-access-abcde", "projected": { "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
        ] } },
    ] } });
    pod["spec"]["volumes"].as_array_mut().unwrap().push(token);
    for volume in pod["spec"]["volumes"].as_array_mut().unwrap() {
        volume_with_defaults(volume);
    }
    let mount = json!({ "name": "kube-api-access-abcde", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" });
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            with_defaults(container);
            set_default(container, "volumeMounts", json!([]));
            container["volumeMounts"].as_array_mut().unwrap().push(mount.clone());
        }
    }
    pod
}

/// Collects all single changes of a value: another value, a field more or less, or an element duplicated, removed or moved.
fn mutations(value: &Value, more: &Fields<String, Value>, made: &mut Vec<Value>) {
    let others = [
        json!("x"),
        json!(""),
        json!(0),
        json!(1),
        json!(false),
        json!(true),
        json!([]),
        json!({}),
        json!(["x"]),
    ];
    made.extend(others.into_iter().filter(|other| other != value));
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut less = fields.clone();
                less.remove(name);
                made.push(Value::Object(less));
                let mut inner = Vec::new();
                mutations(field, more, &mut inner);
                made.extend(inner.into_iter().map(|inner| {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), inner);
                    Value::Object(changed)
                }));
            }
            for (name, field) in more.iter().filter(|(name, _)| !fields.contains_key(*name)) {
                let mut changed = fields.clone();
                changed.insert(name.clone(), field.clone());
                made.push(Value::Object(changed));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let with = |change: &dyn Fn(&mut Vec<Value>)| {
                    let mut changed = items.clone();
                    change(&mut changed);
                    Value::Array(changed)
                };
                made.push(with(&|items| _ = items.remove(index)));
                made.push(with(&|items| items.push(item.clone())));
                made.push(with(&|items| items.insert(0, item.clone())));
                made.push(with(&|items| items.swap(0, index)));
                let mut inner = Vec::new();
                mutations(item, more, &mut inner);
                for inner in inner {
                    made.push(with(&|items| items[index] = inner.clone()));
                    // Adds a changed copy beside the genuine element.
                    if inner.is_object() {
                        made.push(with(&|items| items.push(inner.clone())));
                    }
                }
            }
        }
        _ => {}
    }
}

/// Returns fields that a container, a volume or a part of them may have, each with a value that has an effect.
fn more() -> Fields<String, Value> {
    let fields = json!({
        "stdin": true, "tty": true, "terminationMessagePath": "/rules/rules.txt", "subPath": "x", "subPathExpr": "x",
        "mountPropagation": "Bidirectional", "recursiveReadOnly": "Enabled", "readOnly": true, "optional": true,
        "mode": 0, "defaultMode": 0, "medium": "Memory", "privileged": true, "runAsGroup": 1, "runAsNonRoot": false,
        "procMount": "Unmasked", "hostPort": 1, "hostIP": "127.0.0.1", "initialDelaySeconds": 600, "host": "evil.example",
        "httpHeaders": [{ "name": "a", "value": "b" }], "terminationGracePeriodSeconds": 1, "prefix": "A_",
        "volumeDevices": [{ "name": "x", "devicePath": "/x" }], "claims": [{ "name": "x" }], "add": ["SYS_ADMIN"],
        "postStart": { "exec": { "command": ["x"] } }, "stopSignal": "SIGKILL", "containerName": "app",
        "appArmorProfile": { "type": "Unconfined" }, "resizePolicy": [{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }],
        "restartPolicyRules": [{ "action": "Restart" }], "hostPath": { "path": "/" }, "value": "evil", "items": [{ "key": "x", "path": "x" }],
    });
    fields.as_object().unwrap().clone()
}

/// Removes additions that look like those of admission plugins: [`crate::engine::exact`].
fn without_what_plugins_do(container: &Value) -> Value {
    let mut container = container.clone();
    if container["imagePullPolicy"] == "Always" {
        container["imagePullPolicy"] = json!("IfNotPresent");
    }
    for list in ["requests", "limits"] {
        let amounts = container.pointer_mut(&format!("/resources/{list}")).and_then(Value::as_object_mut);
        if let Some(amounts) = amounts {
            amounts.retain(|name, _| name == "cpu" || name == "memory");
        }
    }
    container
}

fn sidecar_of(pod: &Value) -> Value {
    pod["spec"]["initContainers"][0].clone()
}

/// Returns the pod as finished by the engine and the API server; `None` if it is rejected.
fn finished(pod: &Value, profiles: &ProfileSet) -> Option<Value> {
    let decision = inject(&Json::from(pod), &namespace(), profiles, &Settings::default());
    if decision.outcome == Outcome::Denied {
        return None;
    }
    assert_eq!(decision.outcome, Outcome::Injected, "{}", decision.reason);
    let mut pod = pod.clone();
    if !decision.patch.is_empty() {
        let patch: json_patch::Patch = serde_json::from_slice(decision.patch.json()).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    Some(pod)
}

fn plain() -> Value {
    json!({
        "metadata": { "name": "app" },
        "spec": {
            "containers": [{ "name": "app", "image": "registry.example/app:1", "env": [{ "name": "OWN", "value": "1" }] }],
            "volumes": [{ "name": "own", "emptyDir": {} }],
            "hostAliases": [{ "ip": "10.0.0.9", "hostnames": ["own.example"] }],
            "dnsConfig": { "nameservers": ["10.0.0.8"], "searches": ["own.example"] },
        },
    })
}

#[test]
fn what_comes_back_from_the_api_server_is_left_as_it_is() {
    let profiles = profiles(&rich());
    let genuine = stored(&injected(&plain(), &profiles));
    check(&genuine, &profiles).unwrap();
    let decision = inject(&Json::from(&genuine), &namespace(), &profiles, &Settings::default());
    assert_eq!(
        decision.reason.code(),
        "AlreadyInjected",
        "{}",
        String::from_utf8_lossy(decision.patch.json())
    );
    assert!(decision.patch.is_empty());
}

#[test]
fn no_change_of_a_mandatory_container_gets_through() {
    let profiles = profiles(&rich());
    let genuine = stored(&injected(&plain(), &profiles));
    let wanted = sidecar_of(&genuine);
    let mut made = Vec::new();
    mutations(&wanted, &more(), &mut made);
    let (mut tried, mut harmless) = (0, 0);
    for changed in made {
        let mut forged = genuine.clone();
        forged["spec"]["initContainers"][0] = changed.clone();
        if let Some(pod) = finished(&forged, &profiles) {
            let mut sidecar = sidecar_of(&pod);
            with_defaults(&mut sidecar);
            let mut sidecar = without_what_plugins_do(&sidecar);
            // Before a reinvocation, the API server adds the mount of the token again if it is missing.
            let token = wanted["volumeMounts"].as_array().unwrap().last().unwrap();
            let mounts = sidecar["volumeMounts"].as_array_mut().unwrap();
            if mounts.last() != Some(token) {
                mounts.push(token.clone());
            }
            assert_eq!(dropped(&sidecar), dropped(&wanted), "from {changed}");
        }
        tried += 1;
        if check(&forged, &profiles).is_ok() {
            harmless += 1;
            let mut canonical = changed.clone();
            with_defaults(&mut canonical);
            let canonical = dropped(&without_what_plugins_do(&canonical));
            let mut without_token = dropped(&wanted);
            without_token["volumeMounts"].as_array_mut().unwrap().pop();
            assert!(canonical == dropped(&wanted) || canonical == without_token, "accepted {changed}");
        }
    }
    assert!(tried > 2000 && harmless < tried / 20, "{tried} tried, {harmless} accepted");
}

/// In the first call no plugin has changed an injected container, so such additions are part of the original pod.
#[test]
fn what_looks_like_an_admission_plugins_is_not_taken_from_a_submitted_pod() {
    let mut profile = rich();
    profile["template"]["spec"]["initContainers"][0]["resources"] = json!({ "limits": { "memory": "64Mi" } });
    let profiles = profiles(&profile);
    let genuine = stored(&injected(&plain(), &profiles));
    let submitted = |pod: &Value| {
        let json = Json::from(pod);
        let decision = crate::engine::admit_submitted(&json, &namespace(), &profiles, &Settings::default());
        assert_eq!(decision.outcome, Outcome::Injected, "{}", decision.reason);
        let mut pod = pod.clone();
        let patch: json_patch::Patch = serde_json::from_slice(decision.patch.json()).unwrap_or_default();
        json_patch::patch(&mut pod, &patch).unwrap();
        pod
    };
    assert_eq!(submitted(&genuine), genuine);
    for (field, value) in [
        ("imagePullPolicy", json!("Always")),
        (
            "resources",
            json!({ "limits": { "memory": "64Mi", "cpu": "1m" }, "requests": { "memory": "64Mi" } }),
        ),
        (
            "resources",
            json!({ "limits": { "memory": "64Mi" }, "requests": { "memory": "64Mi", "cpu": "100" } }),
        ),
    ] {
        let mut forged = genuine.clone();
        forged["spec"]["initContainers"][0][field] = value;
        check(&forged, &profiles).unwrap();
        let mut sidecar = sidecar_of(&submitted(&forged));
        with_defaults(&mut sidecar);
        assert_eq!(dropped(&sidecar), dropped(&sidecar_of(&genuine)), "{field}");
        // Later additions of a LimitRange are accepted.
        assert_eq!(finished(&forged, &profiles).unwrap(), forged);
    }
}

/// Removes what the API server drops when it reads the object: empty texts, lists and objects, and zeros that are not
/// pointers.
fn dropped(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                (name.clone(), if name == "divisor" && *value == 0 { json!("0") } else { dropped(value) })
            })
            .filter(|(name, value)| match value {
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || name != "resources",
                Value::Number(number) => {
                    number.as_i64() != Some(0)
                        || !["initialDelaySeconds", "hostPort"].contains(&name.as_str())
                }
                Value::Bool(flag) => *flag || !["stdin", "tty", "readOnly"].contains(&name.as_str()),
                Value::Null => false,
            })
            .collect(),
        Value::Array(items) => items.iter().map(dropped).collect(),
        other => other.clone(),
    }
}

#[test]
fn no_change_of_a_mandatory_volume_gets_through() {
    let profiles = profiles(&rich());
    let genuine = stored(&injected(&plain(), &profiles));
    let volumes = genuine["spec"]["volumes"].as_array().unwrap().clone();
    let mut tried = 0;
    for (index, wanted) in volumes.iter().enumerate().filter(|(_, volume)| volume["name"] != "own") {
        let mut made = Vec::new();
        mutations(wanted, &more(), &mut made);
        for changed in made.into_iter().filter(|changed| changed["name"] == wanted["name"]) {
            for with_status in [true, false] {
                let mut forged = if with_status { genuine.clone() } else { stored(&plain()) };
                if with_status {
                    forged["spec"]["volumes"][index] = changed.clone();
                } else {
                    forged["spec"]["volumes"].as_array_mut().unwrap().insert(0, changed.clone());
                }
                if let Some(pod) = finished(&forged, &profiles) {
                    let mut of_name = pod["spec"]["volumes"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|v| v["name"] == wanted["name"]);
                    let mut volume = of_name.next().unwrap().clone();
                    volume_with_defaults(&mut volume);
                    assert_eq!(dropped(&volume), dropped(wanted), "from {changed}");
                }
                tried += 1;
            }
            let mut forged = genuine.clone();
            forged["spec"]["volumes"][index] = changed.clone();
            if check(&forged, &profiles).is_ok() {
                let mut canonical = changed.clone();
                volume_with_defaults(&mut canonical);
                assert_eq!(dropped(&canonical), dropped(wanted), "accepted {changed}");
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

/// Returns the addresses that the pod has for the host name of the profile's alias.
fn addresses(spec: &Value) -> Value {
    let aliases = spec["hostAliases"].as_array().unwrap().iter();
    let has = |alias: &&Value| {
        alias["hostnames"].as_array().is_some_and(|names| names.contains(&json!("audit.example")))
    };
    let all: std::collections::BTreeSet<String> =
        aliases.filter(has).map(|alias| alias["ip"].to_string()).collect();
    json!(all)
}

/// Returns the parts of a pod that have an effect on the Mandatory profile.
fn effective(pod: &Value) -> Value {
    let app = &pod["spec"]["containers"][0];
    let mut env = Fields::new();
    for variable in app["env"].as_array().unwrap() {
        env.insert(variable["name"].as_str().unwrap_or_default().to_owned(), variable["value"].clone());
    }
    let mounts = app["volumeMounts"].as_array().unwrap();
    let at = |path: &str| {
        mounts
            .iter()
            .filter(|mount| {
                mount["mountPath"].as_str().is_some_and(|p| crate::fields::mount_path::is_same(p, path))
            })
            .map(|mount| mount["name"].to_string())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let spec = &pod["spec"];
    json!([
        env["GUARD"],
        env["GUARD_URL"],
        at("/var/log/app"),
        pod["metadata"]["labels"]["guard"],
        pod["metadata"]["annotations"]["guard.example/mode"],
        pod["metadata"]["annotations"]["files.outrigger.dev/guard-rules.rules.txt"],
        addresses(spec),
        spec["dnsConfig"]["nameservers"][0],
        spec["dnsConfig"]["searches"][0],
    ])
}

#[test]
fn no_change_of_the_rest_gets_through() {
    let profiles = profiles(&rich());
    let genuine = stored(&injected(&plain(), &profiles));
    let wanted = effective(&genuine);
    assert_eq!(wanted[6], json!(["\"10.0.0.1\""]));
    let mut tried = 0;
    for pointer in [
        "/spec/containers/0/env",
        "/spec/containers/0/volumeMounts",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/hostAliases",
        "/spec/dnsConfig",
    ] {
        let mut made = Vec::new();
        mutations(genuine.pointer(pointer).unwrap(), &more(), &mut made);
        for changed in made {
            let mut forged = genuine.clone();
            *forged.pointer_mut(pointer).unwrap() = changed.clone();
            if let Some(pod) = finished(&forged, &profiles) {
                assert_eq!(effective(&pod), wanted, "{pointer}: {changed}");
                let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
                let position = |name: &str| env.iter().position(|variable| variable["name"] == name).unwrap();
                assert!(position("GUARD") < position("GUARD_URL"), "{changed}");
            }
            if check(&forged, &profiles).is_ok() {
                assert_eq!(effective(&forged), wanted, "accepted {pointer}: {changed}");
            }
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}
