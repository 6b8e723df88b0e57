//! Labels and annotations: only where the pod does not have the key.

use serde_json::Value;

use super::super::Reason;
use super::super::place::Place;
use super::{At, Context, Plan};

pub(super) fn plan(context: &Context<'_>, plan: &mut Plan) -> Result<(), Reason> {
    let template = &context.profile.template;
    for (place, map) in [(Place::Labels, &template.labels), (Place::Annotations, &template.annotations)] {
        for (key, value) in map {
            context.add_unless_set(plan, place.clone(), At::End, key, &Value::String(value.clone()))?;
        }
    }
    Ok(())
}
