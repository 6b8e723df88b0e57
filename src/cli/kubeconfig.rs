//! Kubeconfigs. They contain credentials, so no error quotes their content: it names file, line and column.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use kube::client::AuthError;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};
use kube::{Client, Config};

/// Reads the given kubeconfig, or those of `KUBECONFIG`, or `~/.kube/config`.
///
/// # Errors
/// No kubeconfig exists, or one cannot be read.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Kubeconfig> {
    let read = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    read.map_err(|error| {
        let files = file.map_or_else(of_environment, |file| vec![file.to_owned()]);
        let culprit = files.iter().find(|file| Kubeconfig::read_from(file).is_err());
        anyhow!("{}", problem(&error, culprit.map_or(Path::new("kubeconfig"), PathBuf::as_path)))
    })
}

fn of_environment() -> Vec<PathBuf> {
    let given = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let files: Vec<PathBuf> =
        std::env::split_paths(&given).filter(|file| !file.as_os_str().is_empty()).collect();
    if files.is_empty() {
        let home = std::env::home_dir().unwrap_or_default();
        return vec![home.join(".kube/config")];
    }
    files
}

/// Returns a client for a context, and the context's namespace.
///
/// # Errors
/// The kubeconfig lacks something that the context needs.
pub(super) async fn client(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> anyhow::Result<(Client, String)> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| anyhow!("{}", problem(&error, Path::new("kubeconfig"))))?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(without_credentials);
    Ok((client.context("cannot connect with this kubeconfig")?, namespace))
}

/// Returns the error of a client without the output of a credential plugin and without tokens.
pub(super) fn without_credentials(error: kube::Error) -> anyhow::Error {
    if let Some(found) = cause_of::<KubeconfigError>(&error) {
        return anyhow!("{}", problem(found, Path::new("kubeconfig")));
    }
    let Some(auth) = cause_of::<AuthError>(&error) else { return error.into() };
    match auth {
        AuthError::AuthExecRun { out, .. } => anyhow!(
            "the credential plugin (exec) of the kubeconfig failed ({}); run it by hand to see why",
            out.status
        ),
        AuthError::AuthExecStart(cause) => anyhow!("the credential plugin cannot be started: {cause}"),
        AuthError::ReadTokenFile(cause, file) => {
            anyhow!("cannot read the token file {}: {cause}", file.display())
        }
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            anyhow!("the credential plugin did not print an ExecCredential")
        }
        AuthError::InvalidBasicAuth(_) | AuthError::InvalidBearerToken(_) => {
            anyhow!(
                "the kubeconfig's user name, password or token has characters that no HTTP header can have"
            )
        }
        _ => anyhow!("cannot log in with the credentials of the kubeconfig"),
    }
}

/// Returns the cause of this type. The renewal of a token during a request fails below the layers of the client.
fn cause_of<E: std::error::Error + 'static>(error: &kube::Error) -> Option<&E> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}

fn problem(error: &KubeconfigError, file: &Path) -> String {
    let file = file.display();
    let data = |what: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(cause, path) => format!("cannot read {what} {}: {cause}", path.display()),
        LoadDataError::DecodeBase64(_) => format!("{file}: {what} is not base64"),
        LoadDataError::NoBase64DataOrFile => format!("{file}: {what} is missing"),
    };
    match error {
        KubeconfigError::FindPath => {
            "there is no kubeconfig: set KUBECONFIG, or write ~/.kube/config".to_owned()
        }
        KubeconfigError::ReadConfig(cause, path) => {
            format!("cannot read the kubeconfig {}: {cause}", path.display())
        }
        KubeconfigError::Parse(error) => {
            let place = error
                .location()
                .map_or_else(String::new, |place| format!(":{}:{}", place.line(), place.column()));
            format!(
                "{file}{place}: not a kubeconfig: the YAML or the type of a field is wrong here; what stands there is not shown, since a kubeconfig holds credentials"
            )
        }
        KubeconfigError::CurrentContextNotSet => {
            format!("{file} has no current context; name one with --context")
        }
        KubeconfigError::LoadContext(name) => format!("{file} has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("{file} has no cluster {name:?}"),
        KubeconfigError::MissingClusterUrl => format!("{file}: the cluster has no server"),
        KubeconfigError::ParseClusterUrl(_) => format!("{file}: the cluster's server is not a URL"),
        KubeconfigError::ParseProxyUrl(_) => format!("{file}: the cluster's proxy-url is not a URL"),
        KubeconfigError::LoadCertificateAuthority(error) => data("the certificate authority", error),
        KubeconfigError::LoadClientCertificate(error) => data("the client certificate", error),
        KubeconfigError::LoadClientKey(error) => data("the client key", error),
        KubeconfigError::ParseCertificates(_) => {
            format!("{file}: the certificate authority holds no certificate in PEM form")
        }
        _ => format!("{file} cannot be used as it is"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A credential that no message may contain, not even in part.
    const TOKEN: &str = "s3cr3t-t0ken-0f-the-user";

    fn message(text: &str) -> String {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("outrigger-kubeconfig-{}-{count}", std::process::id()));
        fs::write(&file, text).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = read(Some(&file)).and_then(|config| runtime.block_on(client(config, None)));
        fs::remove_file(&file).unwrap();
        let Err(error) = made else { panic!("a client was created from {text}") };
        let message = format!("{error:#} {error:?}");
        for length in (4..=TOKEN.len()).rev() {
            let part = TOKEN.get(..length).unwrap();
            assert!(!message.contains(part), "{message}");
        }
        message
    }

    #[test]
    fn a_malformed_kubeconfig_is_not_quoted() {
        for (text, place) in [
            (format!("users:\n- name: a\n  user: {{token: {TOKEN}\n"), ":"),
            (format!("users:\n- name: a\n  user: {TOKEN}\n"), ":3:"),
            (format!("users: {TOKEN}\n"), ":1:"),
            (format!("users:\n- name: a\n  user:\n    token: [{TOKEN}]\n"), ":4:"),
            (format!("apiVersion: v1\n\t{TOKEN}: a\n"), ":"),
            (format!("a: *{TOKEN}\n"), ":1:"),
            (TOKEN.to_owned(), ":1:"),
        ] {
            let message = message(&text);
            assert!(message.contains(place) && message.contains("not a kubeconfig"), "{message}");
        }
    }

    #[test]
    fn the_output_of_a_failed_plugin_is_not_quoted() {
        use std::os::unix::process::ExitStatusExt as _;
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: TOKEN.into(),
            stderr: TOKEN.into(),
        };
        let failed = || AuthError::AuthExecRun { cmd: TOKEN.to_owned(), out: Box::new(out.clone()) };
        for error in [kube::Error::Auth(failed()), kube::Error::Service(Box::new(failed()))] {
            let message = format!("{:?}", without_credentials(error));
            assert!(message.contains("the credential plugin") && !message.contains(TOKEN), "{message}");
        }
    }

    #[test]
    fn credentials_are_not_quoted() {
        let config = |cluster: &str, user: &str| {
            format!(
                "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
            )
        };
        let server = "server: 'https://127.0.0.1:1'";
        for (text, wanted) in [
            (config(&format!("server: 'https://{TOKEN} x'"), ""), "is not a URL"),
            (
                config(server, &format!("client-key-data: '%{TOKEN}', client-certificate-data: '%{TOKEN}'")),
                "is not base64",
            ),
            (
                config(
                    server,
                    &format!(
                        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo {TOKEN}; exit 1'], interactiveMode: Never}}"
                    ),
                ),
                "the credential plugin",
            ),
            (
                config(
                    server,
                    &format!(
                        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo {TOKEN}'], interactiveMode: Never}}"
                    ),
                ),
                "did not print an ExecCredential",
            ),
        ] {
            let message = message(&text);
            assert!(message.contains(wanted), "{message}");
        }
    }
}
