//! Compiles a profile's spec in YAML or JSON, and checks that its cost stays within the budget and its memory within a
//! limit. The driver's `-rss_limit_mb` and `-malloc_limit_mb`, which `cargo xtask fuzz` sets, end a run that exceeds
//! it.
//!
//! To maximize the memory per byte of input, each power of two of the cost per byte has its own branch, so that the
//! fuzzer regards an input with a higher level as new.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use outrigger::api::Scope;
use outrigger::expression::CompileBudget;
use outrigger::profiles::ProfileEntry;
use serde_json::Value;

/// Executes a separate branch for each level of memory per byte.
#[inline(never)]
fn reached(level: u32) -> u64 {
    macro_rules! levels {
        ($($level:literal)*) => {
            match level { $($level => std::hint::black_box($level + 1),)* _ => 0 }
        };
    }
    levels!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
}

fuzz_target!(|text: &str| -> Corpus {
    let Ok(object) = serde_saphyr::from_str::<Value>(text) else { return Corpus::Reject };
    let spec = object.get("spec").cloned().unwrap_or(object);
    let (entry, findings) = ProfileEntry::read("fuzzed", Scope::Namespace, &spec);
    let cost = entry.cost();
    // A profile may use up both budgets before it is rejected.
    assert!(cost <= CompileBudget::MEMORY.max(CompileBudget::WORK) + (1 << 18), "{cost} bytes");
    let length: usize = findings.iter().map(|finding| finding.path.len() + finding.message.len()).sum();
    assert!(length < 1 << 20, "{length} bytes of findings");
    reached((cost / (text.len() + 64)).next_power_of_two().ilog2());
    Corpus::Keep
});
