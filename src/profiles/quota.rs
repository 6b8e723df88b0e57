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
    pub fn share(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut sizes: Vec<usize> = sizes.map(|bytes| bytes.min(self.namespace)).collect();
        sizes.sort_unstable();
        let (mut left, mut count) = (self.total, sizes.len());
        for bytes in sizes {
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
    fn the_largest_namespaces_are_limited_first() {
        let quota = Quota::of_namespaces(100);
        for (sizes, share) in [
            (&[][..], 25),
            (&[10, 10], 25),
            (&[25, 25, 25, 25], 25),
            (&[1000, 1000, 1000, 1000], 25),
            (&[10, 25, 25, 25, 25], 22),
            (&[1, 2, 3, 1000, 1000, 1000, 1000, 1000], 18),
            (&[20; 10], 10),
        ] {
            assert_eq!(quota.share(sizes.iter().copied()), share, "{sizes:?}");
        }
        assert_eq!(Quota::of_cluster(100).share([70].into_iter()), 100);
    }
}
