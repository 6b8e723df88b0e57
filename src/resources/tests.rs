use super::*;

/// Parses a list such as `cpu=1 memory=64Mi`.
fn list(text: &str) -> ResourceList {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(resource, quantity)| (resource.to_owned(), quantity.parse().unwrap())).collect()
}

fn text(list: &ResourceList) -> String {
    list.iter().map(|(resource, quantity)| format!("{resource}={quantity}")).collect::<Vec<_>>().join(" ")
}

fn app(requests: &str, limits: &str) -> ContainerDemand {
    ContainerDemand::new("app", ContainerRole::App, list(requests), list(limits))
}

fn init(requests: &str, limits: &str) -> ContainerDemand {
    ContainerDemand::new("init", ContainerRole::Init, list(requests), list(limits))
}

fn sidecar(requests: &str, limits: &str) -> ContainerDemand {
    ContainerDemand::new("sidecar", ContainerRole::NativeSidecar, list(requests), list(limits))
}

fn pod(requests: &str, limits: &str) -> PodLevel {
    PodLevel::new(list(requests), list(limits))
}

#[test]
fn the_request_of_a_container_defaults_to_its_limit() {
    let container = app("memory=64Mi", "cpu=1 memory=128Mi");
    assert_eq!(text(container.requests()), "cpu=1 memory=64Mi");
    assert_eq!(text(app("cpu=0", "cpu=1").requests()), "cpu=0");
}

#[test]
fn quantities_are_rounded_up_to_thousandths_as_the_api_server_does() {
    assert_eq!(text(app("cpu=100u", "").requests()), "cpu=1m");
    assert_eq!(text(pod("cpu=1.0001", "").requests()), "cpu=1001m");
}

#[test]
fn requests_are_the_peak_of_the_pods_phases() {
    for (case, containers, expected) in [
        ("nothing", vec![], ""),
        ("apps add up", vec![app("cpu=1", ""), app("cpu=500m memory=1Gi", "")], "cpu=1500m memory=1Gi"),
        ("the largest init container", vec![init("cpu=5", ""), init("cpu=3", ""), app("cpu=1", "")], "cpu=5"),
        (
            "apps above the init containers",
            vec![init("cpu=2", ""), app("cpu=1", ""), app("cpu=2", "")],
            "cpu=3",
        ),
        ("a sidecar runs beside the app", vec![sidecar("cpu=1", ""), app("cpu=1", "")], "cpu=2"),
        (
            "an init container before the sidecars",
            vec![
                init("cpu=5", ""),
                sidecar("cpu=1", ""),
                sidecar("cpu=2", ""),
                sidecar("cpu=3", ""),
                app("cpu=1", ""),
            ],
            "cpu=7",
        ),
        (
            "an init container between sidecars",
            vec![
                init("cpu=5", ""),
                sidecar("cpu=1", ""),
                sidecar("cpu=2", ""),
                init("cpu=5", ""),
                sidecar("cpu=3", ""),
                app("cpu=1", ""),
            ],
            "cpu=8",
        ),
        (
            "each resource has its own peak",
            vec![init("cpu=2", ""), app("memory=1Gi", "")],
            "cpu=2 memory=1Gi",
        ),
        (
            "every resource counts",
            vec![
                sidecar("ephemeral-storage=1Gi", ""),
                app("", "hugepages-2Mi=4Mi example.com/gpu=1 ephemeral-storage=1Gi"),
            ],
            "ephemeral-storage=2Gi example.com/gpu=1 hugepages-2Mi=4Mi",
        ),
    ] {
        assert_eq!(text(&effective_requests(&containers, None, &list(""))), expected, "{case}");
    }
}

#[test]
fn overhead_is_added_to_requests_and_to_existing_limits() {
    let containers = [sidecar("cpu=10m", "memory=64Mi"), app("cpu=1", "cpu=0")];
    let overhead = list("cpu=250m memory=120Mi");
    assert_eq!(text(&effective_requests(&containers, None, &overhead)), "cpu=1260m memory=184Mi");
    assert_eq!(text(&effective_limits(&containers, None, &overhead)), "cpu=0 memory=184Mi");
}

#[test]
fn limits_follow_the_rule_of_requests() {
    let containers = [sidecar("", "cpu=1"), init("", "cpu=3 memory=1Gi"), app("", "cpu=1"), app("cpu=9", "")];
    assert_eq!(text(&effective_limits(&containers, None, &list(""))), "cpu=4 memory=1Gi");
}

#[test]
fn pod_level_requests_replace_the_sum() {
    let containers = [sidecar("cpu=100m memory=64Mi", ""), app("cpu=500m ephemeral-storage=1Gi", "")];
    let requests =
        effective_requests(&containers, Some(&pod("cpu=2 ephemeral-storage=9Gi", "")), &list("cpu=250m"));
    assert_eq!(text(&requests), "cpu=2250m ephemeral-storage=1Gi memory=64Mi");
}

#[test]
fn pod_level_requests_default_to_the_sum_or_to_the_limits() {
    // The IDE example of KEP-2837: its tools have no requests.
    let containers = [sidecar("", ""), sidecar("", ""), app("memory=128Mi cpu=0.5", "memory=256Mi cpu=1")];
    let ide = pod("", "memory=1024Mi cpu=4");
    assert_eq!(text(&effective_requests(&containers, Some(&ide), &list(""))), "cpu=500m memory=128Mi");
    assert_eq!(text(&effective_limits(&containers, Some(&ide), &list(""))), "cpu=4 memory=1Gi");
    assert_eq!(qos(&containers, Some(&ide)), Qos::Burstable);

    assert_eq!(text(&effective_requests(&[app("", "")], Some(&ide), &list(""))), "cpu=4 memory=1Gi");
    assert_eq!(qos(&[app("", "")], Some(&ide)), Qos::Guaranteed);
}

#[test]
fn huge_pages_of_containers_are_added_to_pod_level_limits() {
    let containers = [app("", "hugepages-2Mi=4Mi cpu=1")];
    let defaulted = pod("cpu=1", "").with_defaults(&containers);
    assert_eq!(text(defaulted.limits()), "hugepages-2Mi=4Mi");
    assert_eq!(text(defaulted.requests()), "cpu=1 hugepages-2Mi=4Mi");
    assert_eq!(pod("", "").with_defaults(&containers), pod("", ""));
}

#[test]
fn setting_defaults_is_idempotent() {
    let before = [app("cpu=500m", "")];
    let defaulted = pod("", "cpu=2").with_defaults(&before);
    let after = [sidecar("cpu=100m memory=64Mi", ""), app("cpu=500m", "")];
    assert_eq!(text(defaulted.clone().with_defaults(&after).requests()), "cpu=500m memory=64Mi");
    assert_eq!(
        problems(&after, Some(&defaulted)),
        [ResourceProblem::RequestsAbovePod {
            resource: "cpu".to_owned(),
            containers: "600m".parse().unwrap(),
            pod: "500m".parse().unwrap(),
        }]
    );
}

#[test]
fn the_qos_class_is_that_of_kubernetes() {
    let guaranteed = || app("", "cpu=1 memory=1Gi");
    for (case, containers, expected) in [
        ("nothing is set", vec![app("", ""), sidecar("", "")], Qos::BestEffort),
        ("zero is unset", vec![app("cpu=0", "memory=0")], Qos::BestEffort),
        (
            "other resources do not count",
            vec![app("", "example.com/gpu=1 hugepages-2Mi=2Mi")],
            Qos::BestEffort,
        ),
        ("all is limited", vec![guaranteed()], Qos::Guaranteed),
        ("in other words", vec![app("cpu=1000m memory=1024Mi", "cpu=1 memory=1Gi")], Qos::Guaranteed),
        (
            "other resources do not hinder",
            vec![app("", "cpu=1 memory=1Gi example.com/gpu=1")],
            Qos::Guaranteed,
        ),
        ("a request alone", vec![app("cpu=1", "")], Qos::Burstable),
        ("memory is not limited", vec![app("", "cpu=1")], Qos::Burstable),
        ("a request below its limit", vec![app("cpu=500m", "cpu=1 memory=1Gi")], Qos::Burstable),
        ("a request of zero", vec![app("cpu=0", "cpu=1 memory=1Gi")], Qos::Burstable),
        ("a limit of zero", vec![app("", "cpu=0 memory=1Gi")], Qos::Burstable),
        ("a sidecar without limits", vec![sidecar("", ""), guaranteed()], Qos::Burstable),
        ("an init container without limits", vec![init("", ""), guaranteed()], Qos::Burstable),
        ("a sidecar with limits", vec![sidecar("", "cpu=1 memory=1Gi"), guaranteed()], Qos::Guaranteed),
        // Kubernetes compares the sums, and so does this function.
        (
            "requests that even out",
            vec![app("cpu=1 memory=1Gi", "cpu=2 memory=1Gi"), app("cpu=2 memory=1Gi", "cpu=1 memory=1Gi")],
            Qos::Guaranteed,
        ),
    ] {
        assert_eq!(qos(&containers, None), expected, "{case}");
    }
}

#[test]
fn the_qos_class_depends_only_on_pod_level_resources_if_there_are_any() {
    let containers = [sidecar("", ""), app("cpu=100m", "")];
    for (pod_level, expected) in [
        (pod("cpu=1 memory=1Gi", "cpu=1 memory=1Gi"), Qos::Guaranteed),
        (pod("memory=1Gi", "cpu=1 memory=1Gi"), Qos::Burstable),
        (pod("cpu=1 memory=1Gi", ""), Qos::Burstable),
        (pod("", "memory=1Gi"), Qos::Burstable),
        (pod("", ""), Qos::BestEffort),
    ] {
        assert_eq!(qos(&containers, Some(&pod_level)), expected, "{pod_level:?}");
    }
}

#[test]
fn a_problem_has_the_container_and_both_values() {
    for (containers, pod_level, expected) in [
        (
            vec![app("memory=2Gi cpu=1", "memory=1Gi cpu=1")],
            None,
            "container \"app\" requests 2Gi of memory, above its limit 1Gi: raise the limit or lower the request",
        ),
        (
            vec![sidecar("example.com/gpu=1", "example.com/gpu=2")],
            None,
            "container \"sidecar\" requests 1 of example.com/gpu, its limit is 2: for this resource the two must be equal",
        ),
        (
            vec![app("hugepages-2Mi=4Mi", "")],
            None,
            "container \"app\" requests 4Mi of hugepages-2Mi and has no limit: for this resource set an equal limit",
        ),
        (
            vec![app("", "")],
            Some(pod("cpu=2", "cpu=1")),
            "the pod requests 2 of cpu (spec.resources.requests), which its limit 1 (spec.resources.limits) does not allow: make the two equal",
        ),
        (
            vec![app("", "")],
            Some(pod("cpu=1 hugepages-2Mi=4Mi", "")),
            "the pod requests 4Mi of hugepages-2Mi (spec.resources.requests) and has no limit: for this resource set an equal limit",
        ),
        (
            vec![init("memory=2Gi", ""), app("memory=64Mi", "")],
            Some(pod("memory=1Gi", "")),
            "the containers request 2Gi of memory together, above the pod's own request 1Gi: raise spec.resources.requests to at least 2Gi",
        ),
        (
            vec![app("cpu=1", "cpu=3"), sidecar("", "memory=1Gi")],
            Some(pod("cpu=2", "cpu=2 memory=1Gi")),
            "container \"app\" has the limit 3 of cpu, above the pod's own limit 2: raise spec.resources.limits or lower the container's",
        ),
    ] {
        let found: Vec<_> =
            problems(&containers, pod_level.as_ref()).iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected]);
    }
}

#[test]
fn huge_pages_of_containers_must_not_exceed_the_pods() {
    let containers = [app("", "hugepages-2Mi=4Mi"), app("", "hugepages-2Mi=4Mi")];
    let found = problems(&containers, Some(&pod("", "hugepages-2Mi=6Mi cpu=1")));
    assert!(
        matches!(
            found[..],
            [ResourceProblem::RequestsAbovePod { .. }, ResourceProblem::LimitsAbovePod { .. }]
        ),
        "{found:?}"
    );
}

#[test]
fn resources_that_the_api_server_accepts_are_no_problem() {
    for (containers, pod_level) in [
        (vec![app("cpu=1", "cpu=1"), sidecar("", ""), init("", "example.com/gpu=1")], None),
        (vec![app("cpu=1", ""), sidecar("cpu=1", "")], Some(pod("cpu=2", "cpu=2"))),
        // The containers' total limits may exceed the pod's, and so may the limit of a sidecar.
        (
            vec![app("cpu=100m", "cpu=2"), app("cpu=100m", "cpu=2"), sidecar("cpu=0", "cpu=3")],
            Some(pod("", "cpu=2")),
        ),
        (vec![app("requests.kubernetes.io/x=1", "requests.kubernetes.io/x=2")], None),
        (vec![], None),
    ] {
        assert_eq!(problems(&containers, pod_level.as_ref()), []);
    }
}
