//! Quota of a server's memory for profiles.

/// Memory that profiles may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Total of one kind.
    pub total: usize,
    /// Maximum of one namespace.
    pub namespace: usize,
}

impl Quota {
    /// Returns the quota of kinds without namespaces.
    pub fn of_cluster(total: usize) -> Self {
        Self { total, namespace: total }
    }

    /// Returns the quota of kinds with namespaces: no namespace takes more than a quarter.
    pub fn of_namespaces(total: usize) -> Self {
        Self { total, namespace: total / 4 }
    }

    /// Returns the maximum for each namespace, from the demand of each. If the total demand exceeds the quota, only the
    /// namespaces with the largest demand are cut.
    pub fn share(&self, asked: impl Iterator<Item = usize>) -> usize {
        let mut asked: Vec<usize> = asked.map(|bytes| bytes.min(self.namespace)).collect();
        asked.sort_unstable();
        let (mut left, mut count) = (self.total, asked.len());
        for bytes in asked {
            if bytes.saturating_mul(count) > left {
                return left / count;
            }
            left -= bytes;
            count -= 1;
        }
        self.namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_ask_for_most_give_way() {
        let quota = Quota::of_namespaces(100);
        for (asked, share) in [
            (&[][..], 25),
            (&[10, 10], 25),
            (&[25, 25, 25, 25], 25),
            (&[1000, 1000, 1000, 1000], 25),
            (&[10, 25, 25, 25, 25], 22),
            (&[1, 2, 3, 1000, 1000, 1000, 1000, 1000], 18),
            (&[20; 10], 10),
        ] {
            assert_eq!(quota.share(asked.iter().copied()), share, "{asked:?}");
        }
        assert_eq!(Quota::of_cluster(100).share([70].into_iter()), 100);
    }
}
