//! Labels and annotations: only where the pod does not have the key.

use std::borrow::Cow;

use serde_json::Value;

use super::super::Reason;
use super::{At, Context, Plan};
use crate::fields::Place;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a>) -> Result<(), Reason> {
    let template = &context.profile.template;
    for (place, map) in [(Place::LABELS, &template.labels), (Place::ANNOTATIONS, &template.annotations)] {
        for (key, value) in map {
            let value = Cow::Owned(Value::String(value.clone()));
            context.add_unless_set(plan, place.clone(), At::End, key, value)?;
        }
    }
    Ok(())
}
