//! The table of the faults that the tests made on purpose.

use std::path::PathBuf;

use crate::workspace;

/// The table's columns. A test writes a line of cells, parted by tabs.
const COLUMNS: [&str; 6] = ["fault", "asked meanwhile", "asked", "failed", "lost", "recovered after"];

/// Where the tests write what they saw.
pub(super) fn file() -> PathBuf {
    workspace::target().join("e2e-faults")
}

/// The lines that tests wrote, as a table; nothing if there are none.
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
    format!("\nfaults made on purpose:\n\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let said = table("etcd killed\tpods\t12\t3: etcd away\t0\t2.5 s\n");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[3],
            "| fault       | asked meanwhile | asked | failed       | lost | recovered after |"
        );
        assert_eq!(
            lines[5],
            "| etcd killed | pods            | 12    | 3: etcd away | 0    | 2.5 s           |"
        );
        assert_eq!(table(""), "");
    }
}
