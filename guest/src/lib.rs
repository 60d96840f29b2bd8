#[allow(missing_docs)]
mod bindings { wit_bindgen::generate!({ path: "../wit", world: "mneme", additional_derives: [PartialEq], generate_all }); }
pub use bindings::mneme::cache::types::*;
pub fn f() -> Error { Error::Closed }
