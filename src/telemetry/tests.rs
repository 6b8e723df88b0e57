//! The format of the metrics, and their list in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::{Format, Metrics, Verdict};
use crate::api::Scope;
use crate::cluster::watch_health::WatchHealth;

/// A metric with its samples: the rest of the name, the labels, the value.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Returns metrics that have at least one sample each.
fn all() -> Metrics {
    let metrics = Metrics::default();
    for (webhook, outcome, reason) in [
        ("mutate", "injected", "Injected"),
        ("mutate", "skipped", "DisabledByPod"),
        ("validate", "allowed", "Accepted"),
    ] {
        metrics.observe(&Verdict::new(webhook, outcome, reason), Duration::from_micros(300));
    }
    metrics.count_injection(Scope::Cluster, "log-shipper");
    metrics.count_left_out(Some(Scope::Cluster), "log-shipper", "ParameterMissing");
    metrics.count_event("published");
    metrics.count_lookup("namespaces", "found");
    metrics.set_drift("MutatingWebhookConfiguration", "outrigger", "Missing", false);
    metrics.load.shed(crate::telemetry::Shed::Requests);
    metrics.certificate_ends("ca", 1_800_000_000);
    metrics.known(3, 1, 7);
    metrics.lease_held_by("outrigger-7c9f-x2k4q");
    metrics.count_rollback("namespaces");
    let contact = WatchHealth::default();
    contact.expect("namespaces");
    metrics.collect(contact);
    metrics
}

/// Parses OpenMetrics by its specification, and fails for text that it forbids.
fn read(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    for line in body.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let words: Vec<&str> = about.splitn(3, ' ').collect();
            assert!(!words[1].is_empty() && !words[2].is_empty(), "{line}");
            words[1].clone_into(&mut current);
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "{line} comes after samples");
            match words[0] {
                "HELP" => words[2].clone_into(&mut family.help),
                "TYPE" => words[2].clone_into(&mut family.kind),
                "UNIT" => family.unit = Some(words[2].to_owned()),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(seen.insert(name.to_owned()), "{name} comes twice");
        let (name, labels) =
            name.strip_suffix('}').and_then(|name| name.split_once('{')).unwrap_or((name, ""));
        let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{name} stands below {current}"));
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (key, value) = label.split_once("=\"").expect("a label has a value");
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        });
        let sample = (suffix.to_owned(), labels.collect(), value.parse().unwrap());
        families.get_mut(&current).unwrap().samples.push(sample);
    }
    families
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_count", "_sum"],
        _ => panic!("no type of ours: {kind}"),
    }
}

#[test]
fn the_metrics_are_well_formed() {
    let families = read(&all().encode(Format::OpenMetrics).unwrap());
    for (name, family) in &families {
        assert!(name.starts_with("outrigger_") || name.starts_with("process_"), "{name}");
        assert!(family.help.ends_with('.') && !family.help.ends_with(".."), "{name}: {:?}", family.help);
        assert!(!family.samples.is_empty(), "{name}");
        for (suffix, _, value) in &family.samples {
            assert!(suffixes(&family.kind).contains(&suffix.as_str()), "{name}{suffix}");
            assert!(value.is_finite(), "{name}");
        }
        for unit in ["seconds", "bytes"] {
            assert_eq!(name.ends_with(unit), family.unit.as_deref() == Some(unit), "{name} and its unit");
        }
    }
    let durations = &families["outrigger_admission_duration_seconds"];
    let buckets: Vec<(f64, f64)> = durations
        .samples
        .iter()
        .filter(|(suffix, labels, _)| suffix == "_bucket" && labels["webhook"] == "mutate")
        .map(|(_, labels, value)| (labels["le"].parse().unwrap(), *value))
        .collect();
    assert!(buckets.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1), "{buckets:?}");
    assert!((buckets[0].0 - 0.0001).abs() < f64::EPSILON, "{buckets:?}");
    assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, 2.0));
    assert_eq!(buckets[2], (0.0005, 2.0), "300 µs are less than 500");
    let resident = families["process_resident_memory_bytes"].samples[0].2;
    assert!((1e6..1e11).contains(&resident), "{resident}");
    let started = families["process_start_time_seconds"].samples[0].2;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 3600.0..now + 5.0).contains(&started), "{started} is not just before {now}");
}

/// With `OUTRIGGER_BLESS=1`, the test updates the list.
#[test]
fn the_documentation_lists_every_metric() {
    let mut table = "| metric | type | says |\n| --- | --- | --- |\n".to_owned();
    for (name, family) in read(&all().encode(Format::OpenMetrics).unwrap()) {
        let labels: BTreeSet<&str> =
            family.samples.iter().flat_map(|(_, labels, _)| labels.keys().map(String::as_str)).collect();
        let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let suffix = if family.kind == "histogram" { "" } else { suffixes(&family.kind)[0] };
        writeln!(table, "| `{name}{suffix}{labels}` | {} | {} |", family.kind, family.help).unwrap();
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- metrics -->\n", "<!-- end of metrics -->\n");
    let (before, rest) = text.split_once(start).expect("the page has a place for the table");
    let (listed, after) = rest.split_once(end).expect("the table has an end");
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{start}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            listed, table,
            "docs/observability.md: OUTRIGGER_BLESS=1 cargo test --lib writes the table"
        );
    }
}
