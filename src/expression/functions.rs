//! Table of the functions of expressions.

pub(super) mod convert;
pub(super) mod lists;
pub(super) mod math;
pub(super) mod optionals;
pub(super) mod quantities;
mod sets;
pub(super) mod text;

mod format;
pub(super) mod patterns;

use super::function::Function;
use crate::api::nearest;

/// First part of names such as `math.greatest`.
pub(super) const NAMESPACES: [&str; 6] = ["base64", "lists", "math", "optional", "sets", "strings"];

/// Macros that look like methods, but take a variable's name.
const LOOPS: [&str; 6] = ["all", "exists", "exists_one", "filter", "map", "sortBy"];

fn all() -> impl Iterator<Item = &'static Function> {
    [
        convert::FUNCTIONS,
        text::FUNCTIONS,
        lists::FUNCTIONS,
        math::FUNCTIONS,
        quantities::FUNCTIONS,
        optionals::FUNCTIONS,
        sets::FUNCTIONS,
        patterns::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Returns the function or method with a name.
///
/// # Errors
/// There is no such function; the message suggests the closest name.
pub(super) fn find(name: &str, is_method: bool) -> Result<&'static Function, String> {
    if let Some(function) = all().find(|function| function.name == name && function.is_method == is_method) {
        return Ok(function);
    }
    if all().any(|function| function.name == name) {
        let how = if is_method { format!("{name}(…)") } else { format!("x.{name}(…)") };
        return Err(format!("{name} is called as {how}"));
    }
    let names = all().filter(|function| function.is_method == is_method).map(|function| function.name);
    let names = names.chain(LOOPS.into_iter().filter(|_| is_method));
    Err(match nearest(name, names) {
        Some(meant) => format!("there is no function {name}; did you mean {meant}?"),
        None => format!("there is no function {name}"),
    })
}
