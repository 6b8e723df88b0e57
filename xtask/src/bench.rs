//! Benchmarks: decisions of the engine (`cargo xtask bench engine`), cost of a profile for a pod (`bench catalogue`),
//! the server (`bench serve`), and large manifests (`bench cli`).

mod manifests;
mod serve;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::args::{Args, unknown};
use crate::report::print;
use crate::test::e2e;
use crate::{sh, workspace};

/// Target of a case.
enum Aim {
    /// Maximum in microseconds.
    Micros(f64),
    /// Less than the time to parse the same bytes into a tree.
    Tree,
    /// Maximum in microseconds above the time of an ordinary review.
    Above(f64),
    /// No target: the case is for comparison.
    None,
}

/// Cases of the benchmark, with their targets.
const AIMS: [(&str, Aim); 9] = [
    ("ordinary", Aim::Micros(30.0)),
    ("catalogue", Aim::Micros(30.0)),
    ("five-profiles", Aim::Micros(120.0)),
    ("three-profiles", Aim::None),
    ("three-of-1000", Aim::Above(10.0)),
    ("95-KB-beside", Aim::Tree),
    ("95-KB-into", Aim::Tree),
    ("230-KB-beside", Aim::Tree),
    ("230-KB-into", Aim::Tree),
];

/// Runs the benchmark that the command line selects.
pub(crate) fn run(mut args: Args) -> Result<()> {
    match args.next().as_deref() {
        None | Some("engine") => {}
        Some("catalogue") => return e2e::measure(&args.rest()),
        Some("cli") => return manifests::run(args),
        Some("serve") => return serve::run(args),
        Some(other) => return Err(unknown(other, &["catalogue", "cli", "engine", "serve"]).into()),
    }
    args.end(&[])?;
    let mut command = sh::line("cargo bench --locked --package outrigger --bench engine");
    let mut child = command
        .current_dir(workspace::root())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo bench`")?;
    let mut figures = Figures::default();
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let line = line?;
        print(&line);
        figures.read(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo bench` failed ({status})");
    }
    print(figures.table()?);
    Ok(())
}

/// Figures of the table that Divan prints.
#[derive(Default)]
struct Figures {
    rows: Vec<Row>,
    group: String,
    /// Whether the next line is the number of allocations.
    counts_next: bool,
}

struct Row {
    group: String,
    case: String,
    fastest: f64,
    median: f64,
    allocations: String,
}

impl Figures {
    fn read(&mut self, line: &str) {
        let text = line.trim_start_matches(['│', '├', '╰', '─', ' ']);
        let mut cells = text.split('│').map(str::trim);
        let first = cells.next().unwrap_or_default();
        let mut words = first.split_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>().join(" "));
        if std::mem::take(&mut self.counts_next) {
            if let Some(row) = self.rows.last_mut() {
                name.clone_into(&mut row.allocations);
            }
        } else if name == "alloc:" {
            self.counts_next = true;
        } else if let (Some(fastest), Some(median)) = (micros(&value), cells.nth(1).and_then(micros)) {
            let (group, case) = (self.group.clone(), name.to_owned());
            self.rows.push(Row { group, case, fastest, median, allocations: String::new() });
        } else if value.is_empty() && line.starts_with(['├', '╰']) {
            name.clone_into(&mut self.group);
        }
    }

    fn find(&self, group: &str, case: &str) -> Result<&Row> {
        let found = self.rows.iter().find(|row| row.group == group && row.case == case);
        found.with_context(|| format!("the benchmark has no figure {group} {case}"))
    }

    /// Returns the figures as a table, in microseconds. Ratios are of the fastest runs, which other load on the machine
    /// affects least.
    fn table(&self) -> Result<String> {
        let mut lines = vec![
            String::new(),
            format!(
                "{:<16}{:>9}{:>9}{:>13}{:>9}{:>9}{:>8}{:>8}  aim",
                "µs", "answer", "median", "allocations", "scan", "tree", "/scan", "/tree"
            ),
        ];
        let ordinary = self.find("answered", "ordinary")?.fastest;
        for (case, aim) in AIMS {
            let answer = self.find("answered", case)?;
            let (scan, tree) = (self.find("scan", case)?.fastest, self.find("tree", case)?.fastest);
            let cost = answer.fastest;
            let verdict = |what: String, bound| {
                if cost <= bound { what } else { format!("{what}: missed by {:.1}", cost - bound) }
            };
            let aim = match aim {
                Aim::Micros(most) => verdict(format!("at most {most}"), most),
                Aim::Tree => verdict("less than tree".to_owned(), tree),
                Aim::Above(most) => verdict(format!("at most {most} above ordinary"), ordinary + most),
                Aim::None => "none: to compare".to_owned(),
            };
            lines.push(format!(
                "{case:<16}{cost:>9.1}{:>9.1}{:>13}{scan:>9.1}{tree:>9.1}{:>8.2}{:>8.2}  {aim}",
                answer.median,
                answer.allocations,
                cost / scan,
                cost / tree,
            ));
        }
        Ok(lines.join("\n"))
    }
}

/// Parses a time in Divan's format, and returns it in microseconds.
fn micros(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let number: f64 = number.parse().ok()?;
    match unit {
        "ns" => Some(number / 1e3),
        "µs" => Some(number),
        "ms" => Some(number * 1e3),
        "s" => Some(number * 1e6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
engine             fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ answered                      │               │               │               │         │
│  ├─ ordinary     25.5 µs       │ 91.4 µs       │ 26 µs         │ 27.1 µs       │ 100     │ 100
│  │               alloc:        │               │               │               │         │
│  │                 310         │ 310           │ 310           │ 310           │         │
│  ╰─ 230-KB-into  1.5 ms        │ 2 ms          │ 1.7 ms        │ 1.7 ms        │ 100     │ 100
╰─ scan                          │               │               │               │         │
   ╰─ ordinary     900.2 ns      │ 1 µs          │ 950 ns        │ 1 µs          │ 100     │ 100";

    #[test]
    fn a_table_is_read() {
        let mut figures = Figures::default();
        TABLE.lines().for_each(|line| figures.read(line));
        let read: Vec<_> = figures
            .rows
            .iter()
            .map(|row| {
                format!("{} {} {} {} {}", row.group, row.case, row.fastest, row.median, row.allocations)
            })
            .collect();
        assert_eq!(
            read,
            [
                "answered ordinary 25.5 26 310",
                "answered 230-KB-into 1500 1700 ",
                "scan ordinary 0.9002 0.95 "
            ]
        );
    }
}
