//! Compiles a profile's spec in YAML or JSON and checks that its cost stays within the budget and memory within a bound. `-rss_limit_mb` and `-malloc_limit_mb` of the driver end a run that takes more; `cargo xtask fuzz` sets them.
//!
//! To maximize memory for each byte of input, the cost in steps of a power of two is a counter that the fuzzer looks at: an input
//! that takes more for its size than any before is new to it.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use outrigger::api::Scope;
use outrigger::expression::CompileBudget;
use outrigger::profiles::ProfileEntry;
use serde_json::Value;

/// Each level of memory for each byte has a branch of its own.
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
    // A profile may have used up both memory and work before it was found out.
    assert!(cost <= CompileBudget::MEMORY.max(CompileBudget::WORK) + (1 << 18), "{cost} bytes");
    let told: usize = findings.iter().map(|finding| finding.path.len() + finding.message.len()).sum();
    assert!(told < 1 << 20, "{told} bytes of findings");
    reached((cost / (text.len() + 64)).next_power_of_two().ilog2());
    Corpus::Keep
});
