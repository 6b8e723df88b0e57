//! Table of the faults that tests injected.

use std::path::PathBuf;

use crate::workspace;

/// Columns of the table. A test writes its cells as one line, separated by tabs.
const COLUMNS: [&str; 6] = ["fault", "requests", "sent", "failed", "lost", "recovered after"];

/// Returns the path of the file to which tests write their lines.
pub(super) fn file() -> PathBuf {
    workspace::target().join("e2e-faults")
}

/// Formats the lines of the tests as a table. Returns an empty text if there are none.
pub(super) fn table(lines: &str) -> String {
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut all = vec![COLUMNS.to_vec()];
    all.extend(rows);
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<&str>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut lines: Vec<String> = all.iter().map(line).collect();
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    lines.insert(1, format!("| {} |", rule.join(" | ")));
    format!("\ninjected faults:\n\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let printed = table("etcd killed\tpods\t12\t3: etcd away\t0\t2.5 s\n");
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[3], "| fault       | requests | sent | failed       | lost | recovered after |");
        assert_eq!(lines[5], "| etcd killed | pods     | 12   | 3: etcd away | 0    | 2.5 s           |");
        assert_eq!(table(""), "");
    }
}
