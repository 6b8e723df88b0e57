//! Examples in the help of each command.

pub(super) const SERVE: &str = "\
EXAMPLES
  Without a cluster, from files:
    outrigger serve --profiles profiles/ --tls-cert tls.crt --tls-key tls.key";

pub(super) const INJECT: &str = "\
EXAMPLES
  With the profiles of the current context:
    outrigger inject -f deployment.yaml | kubectl apply -f -
  Without a cluster, the changes alone:
    outrigger inject -f deployment.yaml --profiles profiles/ --enable --diff";

pub(super) const EXPLAIN: &str = "\
EXAMPLES
  A live workload:
    outrigger explain deployment/checkout -n shop
  Manifests without a cluster, for a script:
    outrigger explain -f deployment.yaml --profiles profiles/ --enable -o json
  Compared with the API server's answer:
    outrigger explain -f deployment.yaml --dry-run=server";

pub(super) const LINT: &str = "\
EXAMPLES
  All profiles of a folder:
    outrigger lint profiles/
  A rendered chart, at a level of the Pod Security Standards:
    helm template . | outrigger lint --pod-security restricted -";

pub(super) const DISARM: &str = "\
EXAMPLES
  outrigger disarm";

pub(super) const REARM: &str = "\
EXAMPLES
  outrigger rearm";

pub(super) const CRDS: &str = "\
EXAMPLES
  outrigger crds | kubectl apply --server-side -f -";
