//! The API server's validation of a profile, by a dry run of a pod template.
//!
//! The API server validates a `PodTemplate` like the template of a pod, including newer fields and the cluster's feature gates.
//! Nothing is stored, and the server only needs permission to create pod templates in its own namespace.

use k8s_openapi::api::core::v1::PodTemplate;
use kube::api::PostParams;
use kube::core::{Request, Status};
use kube::{Client, Resource as _};
use serde_json::{Value, json};

use super::{Judgment, LookupError};

/// Name of the object, which is never stored.
const NAME: &str = "outrigger-profile";

/// Part of the message about a field that the API server does not know.
const UNKNOWN_FIELD: &str = "strict decoding error";

/// Validates a pod template with the API server.
///
/// # Errors
/// The API server does not answer, or rejects the request for another reason than the template.
pub(super) async fn judge(
    client: &Client,
    namespace: &str,
    template: &Value,
) -> Result<Judgment, LookupError> {
    match create(client, namespace, template, "Strict").await {
        Err(kube::Error::Api(status)) if status.message.contains(UNKNOWN_FIELD) => {
            let dropped = Some(status.message.clone());
            let judgment = judgment(create(client, namespace, template, "Ignore").await)?;
            Ok(Judgment { dropped, ..judgment })
        }
        answer => judgment(answer),
    }
}

async fn create(
    client: &Client,
    namespace: &str,
    template: &Value,
    field_validation: &str,
) -> kube::Result<Value> {
    let object = json!({
        "apiVersion": "v1", "kind": "PodTemplate",
        "metadata": { "name": NAME, "namespace": namespace }, "template": template,
    });
    let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let path = PodTemplate::url_path(&(), Some(namespace));
    let mut request = Request::new(path).create(&parameters, body).map_err(kube::Error::BuildRequest)?;
    let uri = format!("{}&fieldValidation={field_validation}", request.uri());
    *request.uri_mut() =
        uri.parse().map_err(|error| kube::Error::HttpError(axum::http::Error::from(error)))?;
    client.request(request).await
}

fn judgment(answer: kube::Result<Value>) -> Result<Judgment, LookupError> {
    match answer {
        Ok(_) => Ok(Judgment::default()),
        Err(kube::Error::Api(status)) if status.code == 422 => {
            Ok(Judgment { rejected: causes(*status), dropped: None })
        }
        Err(error) => Err(LookupError(error.to_string())),
    }
}

/// Returns the fields that are rejected, each with its message.
fn causes(status: Status) -> Vec<(String, String)> {
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    if causes.is_empty() {
        return vec![("template".to_owned(), status.message)];
    }
    causes.into_iter().map(|cause| (cause.field, cause.message)).collect()
}
